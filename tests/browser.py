# SPDX-License-Identifier: Apache-2.0
"""A real browser without a screen, driven by the Chrome DevTools protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium")
PATIENT_S = 90.0  # how long to wait for something before giving up; never part of a verdict
_HOST = "127.0.0.1"
_QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
_SOFTWARE = ("--headless", "--no-sandbox", "--disable-quic", "--enable-unsafe-swiftshader", "--window-size=400,400")


class Browser:
    """One page. folder: a new one, for the browser's profile."""

    def __init__(self, url: str, folder: Path) -> None:
        words = (CHROMIUM, *_SOFTWARE, *_QUIET, "--remote-debugging-port=0", f"--user-data-dir={folder}", url)
        self._process = subprocess.Popen([str(w) for w in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait(lambda: (folder / "DevToolsActivePort").is_file(), "the browser's port")
        port = (folder / "DevToolsActivePort").read_text().split()[0]
        tabs = json.load(urllib.request.urlopen(f"http://{_HOST}:{port}/json"))
        place = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        self._tab = connect(place, max_size=None)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        call = {"id": 1, "method": "Runtime.evaluate", "params": {"expression": script, "returnByValue": True}}
        self._tab.send(json.dumps(call))
        while "result" not in (answer := json.loads(self._tab.recv(timeout=PATIENT_S))):
            pass
        return answer["result"]["result"].get("value")

    @property
    def text(self) -> str:
        """What the page says; empty while it loads."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def click(self, label: str) -> None:
        """Click the button of that label."""
        buttons = "[...document.querySelectorAll('button')]"
        self.run(f"{buttons}.find(b => b.innerText.trim() === {json.dumps(label)}).click()")

    def close(self) -> None:
        self._tab.close()
        self._process.kill()
        self._process.wait()


def wait(condition: Callable[[], Any], what: str) -> None:
    until = monotonic() + PATIENT_S
    while not condition():
        assert monotonic() < until, f"waited in vain for {what}"
        sleep(0.05)
