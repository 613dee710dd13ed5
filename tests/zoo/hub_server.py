"""A Hub on the loopback device: what huggingface_hub asks of one to fetch and to publish model repositories.

Kept in memory; large files (safetensors, checkpoints) go through LFS as on the real Hub. Tests make it misbehave:
answers that break off, contents that do not fit their digest, private repositories.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_this_test"
_LARGE = (".safetensors", ".tar", ".pth", ".bin")


@dataclass
class Repository:
    """One model repository: its commits, newest last."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)  # beside main

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    def commit(self, files: dict[str, bytes], sha: str = "") -> str:
        older = self.commits[self.head] if self.commits else {}
        sha = sha or hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[sha] = {**older, **files}
        return sha

    def resolve(self, revision: str) -> str | None:
        revision = self.branches.get(revision, revision)
        return self.head if revision == "main" else revision if revision in self.commits else None


class HubServer(ThreadingHTTPServer):
    """Holds the repositories; see the module's docstring."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str]] = []  # method, path, Range
        self.breaks: list[int] = []  # bytes after which the next downloads break off
        self.wrong_digests: set[str] = set()  # files whose stated digest is not theirs

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, name: str, files: dict[str, bytes], *, sha: str = "", private: bool = False) -> str:
        """A new commit in a repository, which is made if need be; returns its sha."""
        repository = self.repositories.setdefault(name, Repository(private))
        return repository.commit(files, sha)

    def add_folder(self, name: str, folder: Path, **options: Any) -> str:
        return self.add(name, {path.name: path.read_bytes() for path in folder.iterdir()}, **options)


@contextmanager
def running() -> Iterator[HubServer]:
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._get(body=False)

    def do_GET(self) -> None:
        self._get(body=True)

    def _get(self, *, body: bool) -> None:
        raw = urlsplit(self.path).path
        path = unquote(raw)
        self.server.requests.append((self.command, path, self.headers.get("Range", "")))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/([^/]+))?", raw):
            self._model_info(found[1], unquote(found[2] or "main"))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/refs", path):
            self._refs(found[1])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", raw):  # a branch's slashes are escaped
            self._file(*map(unquote, found.groups()), body=body)
        elif path == "/api/whoami-v2":
            self._json(200 if self._authorised() else 401, {"name": "tester", "orgs": [], "auth": {}})
        else:
            self._error(404, "EntryNotFound")

    def _model_info(self, name: str, revision: str) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        sha = repository.resolve(revision)
        if sha is None:
            self._error(404, "RevisionNotFound")
            return
        siblings = [{"rfilename": path} for path in repository.commits[sha]]
        self._json(200, {"id": name, "modelId": name, "sha": sha, "private": repository.private, "siblings": siblings})

    def _refs(self, name: str) -> None:
        if (repository := self._repository(name)) is None:
            return
        branches = {"main": repository.head, **repository.branches}
        listed = [{"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": sha} for ref, sha in branches.items()]
        self._json(200, {"branches": listed, "tags": [], "converts": []})

    def _file(self, name: str, revision: str, path: str, *, body: bool) -> None:
        repository = self._repository(name)
        if repository is None:
            return
        sha = repository.resolve(revision)
        if sha is None:
            self._error(404, "RevisionNotFound")
            return
        content = repository.commits[sha].get(path)
        if content is None:
            self._error(404, "EntryNotFound", {"X-Repo-Commit": sha})
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        stop = int(wanted[2]) + 1 if wanted and wanted[2] else len(content)
        self.send_response(206 if wanted else 200)
        self.send_header("X-Repo-Commit", sha)
        digest = hashlib.sha256(content).hexdigest()
        if path in self.server.wrong_digests:
            digest = digest[::-1]
        if path.endswith(_LARGE):
            self.send_header("X-Linked-Etag", f'"{digest}"')
            self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if body:
            part = content[start:stop]
            if self.server.breaks and path.endswith(_LARGE):
                part = part[: self.server.breaks.pop(0)]
                self.close_connection = True
            self.wfile.write(part)

    def do_PUT(self) -> None:
        oid = self.path.rpartition("/")[2]
        content = self._body()
        if hashlib.sha256(content).hexdigest() != oid:
            self._error(400, "BadDigest")
            return
        self.server.blobs[oid] = content
        self._json(200, {})

    def do_POST(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self._body()
        self.server.requests.append(("POST", path, ""))
        if path == "/api/validate-yaml":
            self._json(200, {"errors": [], "warnings": []})
        elif not self._authorised():
            self._error(401, "")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/[^/]+", path):
            files = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(_LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for f in json.loads(body)["files"]
            ]
            self._json(200, {"files": files})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{self.server.endpoint}/lfs/{one['oid']}", "header": {}}}}
                for one in json.loads(body)["objects"]
            ]
            self._json(200, {"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/[^/]+", path):
            self._commit(found[1], body)
        else:
            self._error(404, "EntryNotFound")

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization'] or 'tester'}/{wanted['name']}"
        url = {"url": f"{self.server.endpoint}/{name}"}
        if name in self.server.repositories:
            self._json(409, url | {"error": "exists"})
            return
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self.server.repositories[name] = Repository(private, {"0" * 40: {}})
        self._json(200, url)

    def _commit(self, name: str, body: bytes) -> None:
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        sha = self.server.add(name, files)
        url = f"{self.server.endpoint}/{name}/commit/{sha}"
        self._json(200, {"success": True, "commitOid": sha, "commitUrl": url})

    def _repository(self, name: str) -> Repository | None:
        """The repository if this caller may see it; otherwise the answer is given here."""
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not self._authorised()):
            self._error(404 if self._authorised() else 401, "RepoNotFound")
            return None
        return repository

    def _authorised(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _error(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
