# SPDX-License-Identifier: Apache-2.0
"""Benchmark of the node loop in real time: plant → mpc → gate → plant, started by `metarl launch`.

    latency   from sending a state to receiving the command for that state, in the plant
    missed    periods without the command for their state at their end (late or never)
    jitter    deviation of the plant's periods

Each node is a process; with `gate:=inside`, mpc and gate share one. With `commands:=twist` a ground vehicle's commands
pass through the drive bridge and the simulated driver behind it. The plant measures all three
(metarl_robot.ros_nodes.loop_timing). The rate is `control_rate_hz` in the robot's folder; another rate needs a copy of
the folder.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import numpy as np
from numpy.typing import NDArray

from metarl_robot.benchmarks.catalogue import Report
from metarl_robot.benchmarks.record import Benchmark, Row, alone
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import MODELS_DIR
from metarl_robot.ros_nodes.launcher_watch import AT_ONCE

Array = NDArray[np.float64]

_START_S = 120.0  # nodes may have to compile their code first
_STOP_S = 20.0
_SETTLING_S, _MEASURED_S = 4.0, 10.0  # the plant reports the last ten seconds
_TIMER_S = 2.0
_QUICK_SETTLING_S, _QUICK_MEASURED_S = 1.0, 3.0
_STARTED = re.compile(r"\[(\w+)-\d+\]: process started with pid \[(\d+)\]")
BROWSER = shutil.which("chromium")
_HEADLESS = ("--headless", "--no-sandbox", "--no-first-run", "--enable-unsafe-swiftshader", "--remote-debugging-port=0")
_PAGE_S = 25.0  # a browser loads the page, also on a busy machine
_TICKS_S = 1.0 / os.sysconf("SC_CLK_TCK")
_REMARKS = (
    "Ratio: one period over the median latency. Missed: share of periods at the end of which the command for their "
    "state had not arrived. CPU: of one core, over the measured seconds. Stops: number of times that the gate took "
    "control.",
    "First row: wake-up delay of a loop that only sleeps until the next period; no loop of nodes on this machine can "
    "be faster. Timer: the same for two seconds before each loop, as the machine's part in its missed periods; it is a "
    "process of ordinary priority, while the nodes have real-time priority if the system allows it.",
    "Gate inside: mpc and gate in one process (gate:=inside). Bridge: the drive bridge and the simulated driver behind "
    "it, two more processes.",
    "View: its CPU is that of the process view. The browser (Chromium, headless, without a GPU) runs on the same "
    "machine and takes its own time there.",
    "meta_mpc runs with adaptation. Nothing is recorded; /diagnostics and all other topics are published as usual.",
)


@dataclass(frozen=True)
class Loop:
    """One run.

    launch: name of the launch file. form: words for `arguments`, which are added to the launch. watched: a browser
    shows the view, if Chromium is installed.
    """

    launch: str
    robot: str
    controller: str
    rate_hz: int
    form: str = ""
    arguments: tuple[str, ...] = ()
    watched: bool = False

    @property
    def case(self) -> str:
        form = f", {self.form}" if self.form else ""
        return f"{self.robot} {self.controller} {self.rate_hz} Hz{form}: state to command"


_INSIDE = ("gate inside", ("gate:=inside",))
_LOOPS = (
    Loop("arm", "panda", "meta_mpc", 100),
    Loop("arm", "panda", "meta_mpc", 250),
    Loop("arm", "panda", "meta_mpc", 250, *_INSIDE),
    Loop("arm", "panda", "meta_mpc", 500),
    Loop("arm", "panda", "nominal_mpc", 250),
    Loop("quad", "x500", "meta_mpc", 250),
    Loop("quad", "x500", "meta_mpc", 250, *_INSIDE),
)
_VIEW = ("view:=true",)
_VIEWED = (
    Loop("arm", "panda", "meta_mpc", 100, "view", _VIEW),
    Loop("arm", "panda", "meta_mpc", 100, "view in a browser", _VIEW, watched=True),
)
_DIRECT = Loop("ground", "f1tenth", "meta_mpc", 100)
_BRIDGED = Loop("ground", "f1tenth", "meta_mpc", 100, "bridge", ("commands:=twist",))


def run(report: Report, quick: bool) -> Benchmark:
    """Measure the machine's own wake-up delay, then each loop in turn."""
    rows = [_machine_row(250, 1.0 if quick else _MEASURED_S)]
    spans = (_QUICK_SETTLING_S, _QUICK_MEASURED_S) if quick else (_SETTLING_S, _MEASURED_S)
    viewed = tuple(loop for loop in _VIEWED if importlib.util.find_spec("viser") and (BROWSER or not loop.watched))
    loops = (*_LOOPS, *viewed, _DIRECT, _BRIDGED)
    for number, loop in enumerate(loops):
        report(f"ros: {loop.case.partition(':')[0]}", number, len(loops))
        rows.append(loop_row(loop, *spans))
    report("ros", len(loops), len(loops))
    return Benchmark("ros", (*rows, beside(rows[-1], "without a bridge", rows[-2])), _REMARKS)


def beside(row: Row, name: str, other: Row) -> Row:
    """A loop's row with another loop as its peer."""
    times = other.ours_us_median, other.ours_us_p99
    longer = {"latency / latency of the peer": row.ours_us_median / other.ours_us_median}
    return replace(
        row,
        peer=name,
        peer_us_median=times[0],
        peer_us_p99=times[1],
        ratio=other.ours_us_median / row.ours_us_median,
        details=longer,
    )


def _machine_row(rate_hz: int, duration_s: float) -> Row:
    return alone(f"machine: sleep until the next period, {rate_hz} Hz: late by", oversleeps(rate_hz, duration_s))


def oversleeps(rate_hz: int, duration_s: float) -> Array:
    """How late a loop wakes up [s], without other work."""
    begin, late = monotonic(), np.empty(round(duration_s * rate_hz))
    for k in range(len(late)):
        until = begin + (k + 1) / rate_hz
        sleep(max(0.0, until - monotonic()))
        late[k] = monotonic() - until
    return late


def loop_row(loop: Loop, settling_s: float, measured_s: float) -> Row:
    """Times of one loop, after it has settled."""
    timer_s = oversleeps(loop.rate_hz, _TIMER_S)
    with tempfile.TemporaryDirectory() as folder, _launched(loop, _with_rate(loop, Path(folder))) as nodes:
        nodes.wait_for("[gate]: passing", _START_S)
        browsing = _browsing(nodes, Path(folder)) if loop.watched else nullcontext()
        with browsing:
            sleep(settling_s)
            before = nodes.cpu_s()
            sleep(measured_s)
            used = {node: after - before[node] for node, after in nodes.cpu_s().items()}
        stops = sum("[gate]: braking" in line for line in nodes.lines)
        times = nodes.ask_plant()
    period_us, median_us = 1e6 / loop.rate_hz, 1e3 * times["latency_ms_median"]
    details = {
        "missed %": 100.0 * times["missed"] / times["periods"],
        "latency max µs": 1e3 * times["latency_ms_max"],
        "jitter p99 µs": 1e3 * times["jitter_ms_p99"],
        "timer p99 µs": 1e6 * float(np.percentile(timer_s, 99.0)),
        "timer missed %": 100.0 * float(np.mean(timer_s > 1.0 / loop.rate_hz)),
        **{f"CPU {node} %": 100.0 * seconds / measured_s for node, seconds in used.items()},
        "stops": float(stops),
    }
    return Row(
        loop.case,
        median_us,
        1e3 * times["latency_ms_p99"],
        "one period",
        period_us,
        period_us,
        period_us / median_us,
        details=details,
    )


def _with_rate(loop: Loop, folder: Path) -> Path:
    """Copy the robot's folder, with another control rate."""
    copy = Path(shutil.copytree(MODELS_DIR / loop.robot, folder / loop.robot))
    file = copy / "robot.yaml"
    file.write_text(
        re.sub(r"(?m)^control_rate_hz:.*$", f"control_rate_hz: {loop.rate_hz}", file.read_text(encoding="utf-8")),
        encoding="utf-8",
    )
    return copy


class _Nodes:
    """Running nodes: their process ids and their output."""

    def __init__(self, launcher: subprocess.Popen[str]) -> None:
        self._launcher = launcher
        self.lines: list[str] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._launcher.stdout or ():
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, text: str, timeout_s: float) -> str:
        """Wait for a line that contains the text; returns the first one. Raises MetaRLError."""
        deadline = monotonic() + timeout_s
        while monotonic() < deadline and self._launcher.poll() is None:
            for line in list(self.lines):
                if text in line:
                    return line
            sleep(0.02)
        raise MetaRLError("ros: the nodes did not say '" + text + "' but:\n" + "\n".join(self.lines[-15:]))

    def cpu_s(self) -> dict[str, float]:
        """Processor time of each node since its start [s] (proc(5): utime and stime)."""
        fields = {
            node: Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            for node, process in self._pids().items()
        }
        return {node: _TICKS_S * (int(values[11]) + int(values[12])) for node, values in fields.items()}

    def ask_plant(self) -> dict[str, float]:
        """Stop the plant before all others, and parse its loop statistics."""
        os.kill(self._pids()["plant"], signal.SIGINT)
        said = self.wait_for("loop: periods=", _STOP_S).partition("loop: ")[2]
        return {name: float(value) for name, _, value in (pair.partition("=") for pair in said.split())}

    def _pids(self) -> dict[str, int]:
        """Process ids, by executable."""
        found = (_STARTED.search(line) for line in list(self.lines))
        return {match.group(1): int(match.group(2)) for match in found if match}


@contextmanager
def _browsing(nodes: _Nodes, folder: Path) -> Iterator[None]:
    """Show the page of the view in a browser without a screen."""
    url = nodes.wait_for("open http://", _START_S).partition("open ")[2].strip()
    words = (BROWSER, *_HEADLESS, f"--user-data-dir={folder / 'browser'}", url)
    browser = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        sleep(_PAGE_S)
        yield
    finally:
        browser.terminate()
        browser.wait()


@contextmanager
def _launched(loop: Loop, robot: Path) -> Iterator[_Nodes]:
    """Run `metarl launch` in a separate ROS domain."""
    command = (
        sys.executable,
        "-m",
        "metarl_robot",
        "launch",
        loop.launch,
        f"robot:={robot}",
        f"controller:={loop.controller}",
        *loop.arguments,
    )
    apart = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", AT_ONCE: "1"}
    environment = {**os.environ, **apart}
    launcher = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield _Nodes(launcher)
    finally:
        launcher.send_signal(signal.SIGINT)
        try:
            launcher.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            launcher.kill()
