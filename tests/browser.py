"""A real browser without a window, steered through a pipe by Chromium's DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

BROWSER = (
    shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
)


class Browser:
    """One page of a browser; what it asked for and complained of is kept.

    requests: addresses that the page wanted, apart from data. complaints: errors of its scripts and
    all else in its console.
    """

    def __init__(self, folder: Path) -> None:
        assert BROWSER is not None
        (there, self._write), (self._read, back) = os.pipe(), os.pipe()
        command = [
            BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "about:blank",
        ]  # fmt: skip
        # the protocol's pipes are the files 3 and 4
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{there} 4>&{back}', "bash", *command],
            pass_fds=(there, back),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(there), os.close(back)
        self._numbers, self._buffer, self._session = count(1), b"", ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        targets = self.send("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def show(self, address: str) -> None:
        """Open a page and wait until its script is done."""
        self.send("Page.navigate", url=address)
        self.until("document.documentElement?.dataset.ready !== undefined")

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Have a screen of this size, by day or in the dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, expression: str) -> Any:
        """Return what a line of JavaScript is worth."""
        found = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str, seconds: float = 20.0) -> None:
        """Wait until a line of JavaScript is true, at most so long."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, f"never: {expression}"
            time.sleep(0.05)

    def press(self, key: str, code: int) -> None:
        """Press a key of the keyboard."""
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def click(self, selector: str) -> None:
        """Click into the middle of an element."""
        box = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{box}.scrollIntoView({{block: 'center'}})")
        x, y = self.value(
            f"(one => [one.x + one.width / 2, one.y + one.height / 2])({box}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path, *, whole: bool = False) -> Path:
        """Save what is seen as PNG; `whole`: with what lies below the screen."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def at(self, milliseconds: float) -> None:
        """Let the clock of the pages opened from now on stand at this time, since 1970."""
        self.send(
            "Page.addScriptToEvaluateOnNewDocument",
            source=f"Date.now = () => {milliseconds:.0f};",
        )

    def close(self) -> None:
        """End the browser."""
        self.send("Browser.close")
        self._process.wait(20)
        os.close(self._write), os.close(self._read)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            more = os.read(self._read, 2**20)
            assert more, "the browser has ended"
            self._buffer += more
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        heard = _HEARD.get(message.get("method", ""))
        if heard:
            heard(self, message["params"])
        return message


def _requested(browser: Browser, event: dict[str, Any]) -> None:
    address = event["request"]["url"]
    if not address.startswith("data:"):
        browser.requests.append(address)


def _complained(browser: Browser, event: dict[str, Any]) -> None:
    browser.complaints.append(json.dumps(event)[:400])


_HEARD: dict[str, Callable[[Browser, dict[str, Any]], None]] = {
    "Network.requestWillBeSent": _requested,
    "Runtime.exceptionThrown": _complained,
    "Runtime.consoleAPICalled": _complained,
    "Log.entryAdded": _complained,
}
