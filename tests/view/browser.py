"""A headless Chromium, spoken to over its debugging pipe: JSON messages that end in a zero byte, no library needed."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe"),
)
KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "ArrowUp": 38, " ": 32, "Tab": 9, "Home": 36}


def find_chromium() -> str | None:
    """The browser's binary, if there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """`with Browser(binary, profile) as browser: browser.open(page, 1280); browser.run("1 + 1")`."""

    def __init__(self, binary: str, profile: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()

        def hand_over() -> None:  # the browser reads from descriptor 3 and writes to 4
            low, high = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(low, 3)
            os.dup2(high, 4)

        self.process = subprocess.Popen(
            [binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=hand_over,  # noqa: PLW1509  # no threads here
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.to, self.back = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb", 0)
        self.events: list[dict[str, Any]] = []
        self.number, self.rest, self.session = 0, b"", ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; what comes before it is kept in `events`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        self.to.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self.events.append(answer)

    def receive(self) -> dict[str, Any]:
        """The next message."""
        while b"\0" not in self.rest:
            part = os.read(self.back.fileno(), 1 << 20)
            assert part, "the browser ended"
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return dict(json.loads(message))

    def open(self, page: Path, width: int, height: int = 900, scheme: str = "light", fragment: str = "") -> float:
        """Load a page; returns the seconds it took until everything was drawn."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Page.navigate", url="about:blank")
        self.events.clear()
        began = time.monotonic()
        self.ask("Page.navigate", url=page.resolve().as_uri() + fragment)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        return time.monotonic() - began

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key, as from a keyboard."""
        named = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": " "} if key == " " else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **named, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **named)

    def complaints(self) -> list[str]:
        """What went wrong in the page since it was opened: errors, warnings, and anything it fetched."""
        self.run("1")
        found = []
        for event in self.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled"}:
                found.append(json.dumps(parameters)[:300])
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(parameters["entry"]["text"])
            elif method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith(
                ("file:", "data:", "about:")
            ):
                found.append(f"fetched {parameters['request']['url']}")
            elif method == "Page.javascriptDialogOpening":
                found.append("a dialog was opened")
        return found

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """A picture of the page."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.to.close()
        self.back.close()
