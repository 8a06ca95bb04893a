"""Real Chromium, headless, on a host of the laboratory, by the Chrome DevTools Protocol over pipes."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

SECONDS = 30.0
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions "
    "--disable-background-networking --disable-component-update --hide-scrollbars --force-color-profile=srgb"
)

Start = Callable[[list[str]], "subprocess.Popen[bytes]"]


class Page:
    """One tab. `faults` has what scripts threw and what the browser complained of, such as breaches of the policy."""

    def __init__(self, browser: subprocess.Popen[bytes]) -> None:
        assert browser.stdin
        assert browser.stdout
        self.faults: list[str] = []
        self._to: IO[bytes] = browser.stdin
        self._ids = itertools.count(1)
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, args=(browser.stdout,), daemon=True).start()
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol. Raises AssertionError when it fails or has no answer."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                answer = self._answers.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{method}: no answer within {SECONDS:g} s") from None
            if answer["id"] == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """The first value of an expression that is true. Raises AssertionError."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):  # the page is not there yet
                if value := self.evaluate(expression):
                    return value
            time.sleep(0.05)
        shown = self.evaluate("document.body.innerText")
        raise AssertionError(f"{expression}: not within {SECONDS:g} s; faults {self.faults}; the page shows {shown!r}")

    def press(self, key: str) -> None:
        code = {"Tab": 9}.get(key, 0)  # what the browser itself acts on has a number
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def look(self, width: int, height: int, *, scheme: str = "light", phone: bool = False) -> None:
        """The size of the screen, and whether the person likes it `light` or `dark`."""
        scale = 2 if phone else 1
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _read(self, stream: IO[bytes]) -> None:
        data = b""
        while piece := stream.read1(65_536):  # type: ignore[attr-defined]  # it is buffered
            *messages, data = (data + piece).split(b"\0")
            for text in messages:
                message = json.loads(text)
                if "id" in message:
                    self._answers.put(message)
                elif message["method"] == "Runtime.exceptionThrown":
                    self.faults.append(str(message["params"]["exceptionDetails"]))
                elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                    self.faults.append(message["params"]["entry"]["text"])


@contextlib.contextmanager
def browse(start: Start) -> Iterator[Page]:
    """A page in a browser that `start` starts, with pipes to its stdin and from its stdout."""
    program = shutil.which("chromium")
    assert program, "chromium is not installed"
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = f'exec "{program}" {FLAGS} --user-data-dir={profile} --remote-debugging-pipe 3<&0 4>&1'
        browser = start(["sh", "-c", command])
        try:
            yield Page(browser)
        finally:
            browser.kill()
            browser.wait(10)
