"""Where onnxruntime-web comes from: a folder of an npm install, or a CDN's copy pinned by version and hash.

Either way the page fetches two files a back end with the hash that stands here, and the browser refuses any others.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lowzoo.base.errors import LowzooError

# The script that holds the glue code, then the WebAssembly. Sub-resource integrity of the files in the npm package.
FILES = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
}
PINNED_VERSION = "1.30.0"
CDN = "https://cdn.jsdelivr.net"
PINNED = {
    "ort.wasm.bundle.min.mjs": "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    "ort-wasm-simd-threaded.wasm": "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
    "ort.webgpu.bundle.min.mjs": "sha384-1ntMeyj+z5diX6vBR5h+zlJBPc4iNvhCxE6nlammh8daBYcLBZkzrwDkuJjhwI+f",
    "ort-wasm-simd-threaded.asyncify.wasm": "sha384-EPVDLTxuO663dkZO/pcKJF6vOyyfq/5z9FY1oksN0UWFX2ABH4wDDZQHeNoUleWR",
}


@dataclass(frozen=True, slots=True)
class RuntimeFile:
    """A file of onnxruntime-web: name, address for the page, hash, and where it lies if lowzoo serves it."""

    name: str
    url: str
    integrity: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Runtime:
    """onnxruntime-web.

    Args:
        version: Version of onnxruntime-web.
        source: The folder or the CDN, in words.
        backends: Script and WebAssembly of each back end; empty for one that is absent.
        origin: Origin of the CDN; None for a folder.
    """

    version: str
    source: str
    backends: dict[str, tuple[RuntimeFile, ...]]
    origin: str | None = None

    def as_task(self) -> dict[str, object]:
        """What a page must know to load it."""
        return {
            "version": self.version,
            **{
                backend: [{"name": one.name, "url": one.url, "integrity": one.integrity} for one in files]
                for backend, files in self.backends.items()
            },
        }

    def local(self, name: str) -> Path | None:
        """Where a file that lowzoo serves lies; None for any other name."""
        files = (file for files in self.backends.values() for file in files)
        return next((file.path for file in files if file.name == name), None)


def from_cdn() -> Runtime:
    """The pinned version."""
    base = f"{CDN}/npm/onnxruntime-web@{PINNED_VERSION}/dist"
    backends = {
        backend: tuple(RuntimeFile(name, f"{base}/{name}", PINNED[name]) for name in names)
        for backend, names in FILES.items()
    }
    return Runtime(PINNED_VERSION, CDN, backends, CDN)


def from_folder(folder: Path) -> Runtime:
    """An npm install: the package's folder, its `dist`, or the folder that holds `node_modules`.

    Raises:
        LowzooError: onnxruntime-web is not in it.
    """
    places = (folder, folder / "dist", folder / "node_modules/onnxruntime-web/dist")
    found = next((place for place in places if all((place / name).is_file() for name in FILES["wasm"])), None)
    if found is None:
        raise LowzooError(
            f"{folder} holds no onnxruntime-web ({' and '.join(FILES['wasm'])} are missing)",
            "Run `npm install onnxruntime-web` there, or leave out --ort-dist",
        )
    backends = {
        backend: tuple(RuntimeFile(name, f"ort/{name}", integrity_of(found / name), found / name) for name in names)
        if all((found / name).is_file() for name in names)
        else ()
        for backend, names in FILES.items()
    }
    return Runtime(_version(found.parent / "package.json"), str(folder), backends)


def integrity_of(path: Path) -> str:
    """Sub-resource integrity of a file."""
    return f"sha384-{base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()}"


def _version(package: Path) -> str:
    try:
        return str(json.loads(package.read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"
