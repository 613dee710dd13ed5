"""A real browser that a script drives: Chromium's own protocol over two pipes, by the standard library alone."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
    "--use-fake-device-for-media-stream",
)
# Numbers that the child's own pipes cannot have.
_HIGH = 64


def program() -> str | None:
    """Chromium, where it is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Browser:
    """A browser that is open; see `browser`."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._count, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, timeout: float = 120.0, **params: Any) -> dict[str, Any]:
        """One command, and what it gives."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._send, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            found = self._read(end)
            if found.get("id") != self._count:
                self.events.append(found)
            elif "error" in found:
                raise RuntimeError(f"{method}: {found['error']}")
            else:
                result: dict[str, Any] = found["result"]
                return result

    def page(self, url: str, *, dark: bool = False, deny: Sequence[str] = ()) -> "Page":
        """Open an address in a profile of its own, at the size of a phone.

        Args:
            url: The address.
            dark: The colours that the person prefers.
            deny: Permissions that are refused; the camera's prompt is answered yes else.
        """
        context = self.call("Target.createBrowserContext")["browserContextId"]
        for name in ("videoCapture",):
            setting = "denied" if name in deny else "granted"
            self.call("Browser.setPermission", permission={"name": "camera"}, setting=setting, browserContextId=context)
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        made = Page(self, context, target, session)
        for domain in ("Page", "Runtime", "DOM", "Log"):
            made.call(f"{domain}.enable")
        made.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        made.call("Emulation.setEmulatedMedia", features=[scheme])
        made.call("Page.navigate", url=url)
        return made

    def _read(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._receive], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self._receive, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found


class Page:
    """One page."""

    def __init__(self, owner: Browser, context: str, target: str, session: str) -> None:
        self._owner, self.context, self._target, self._session = owner, context, target, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command for this page."""
        return self._owner.call(method, self._session, **params)

    def run(self, script: str) -> Any:
        """What an expression gives, waited for."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script[:120]}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 60.0) -> Any:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):  # while a page is being replaced there is nothing to ask
                if found := self.run(script):
                    return found
            time.sleep(0.05)
        raise TimeoutError(f"{script} did not become true within {seconds:g} s: {self.run('document.body.innerText')}")

    def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Put files into a file picker, as a person's choice does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file.resolve()) for file in files])

    def downloads_to(self, folder: Path) -> None:
        """Where files go."""
        self._owner.call(
            "Browser.setDownloadBehavior",
            behavior="allow",
            downloadPath=str(folder.resolve()),
            browserContextId=self.context,
        )

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot, of the whole page or of what a phone shows."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """Leave it, as a person does."""
        self._owner.call("Target.closeTarget", targetId=self._target)


@contextlib.contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """A browser with a profile of its own, ended afterwards."""
    path = program()
    if path is None:
        raise RuntimeError("no Chromium on this machine")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    high = [fcntl.fcntl(each, fcntl.F_DUPFD, _HIGH) for each in (theirs_in, theirs_out)]

    def place() -> None:
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    with tempfile.TemporaryDirectory(prefix="lowzoo-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={profile}", *flags, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=place,
            pass_fds=(3, 4),
        )
        for each in (theirs_in, theirs_out, *high):
            os.close(each)
        try:
            yield Browser(ours_out, ours_in)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(ours_out)
            os.close(ours_in)
