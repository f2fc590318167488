# SPDX-License-Identifier: Apache-2.0
"""One controller over ROS 2: starts the nodes of a launch file, monitors and records them until a given time.

The nodes use their own ROS domain and stay on this machine, so that neither other runs nor real robots receive their
messages.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic
from typing import TextIO

from metarl_robot.cli.launch import Launch
from metarl_robot.cli.launch_process import node_environment
from metarl_robot.cli.live import Sample
from metarl_robot.core.errors import MetaRLError
from metarl_robot.ros_nodes.launcher_watch import AT_ONCE, LAUNCHER

_LOOK_HZ = 10.0
_START_TIMEOUT_S = 90.0  # nodes may have to compile their code first
_STALL_TIMEOUT_S = 30.0
_KEPT_LINES = 8
_DOMAINS = 100  # domains that have ports on every operating system


class RunError(MetaRLError):
    """A run over ROS did not finish; the message holds the last lines of its nodes."""

    bad_input = False


class HeldError(RunError):
    """The gate took control of the robot from the controller."""


@dataclass(frozen=True)
class RunFiles:
    """Output files of a run: its recording, and the log of its nodes' output."""

    recording: Path
    log: Path


def run_nodes(
    launch_file: str,
    files: RunFiles,
    arguments: Mapping[str, str],
    robot: str,
    duration_s: float,
    show: Callable[[Sample], None],
) -> str:
    """Launch the nodes, monitor them, and stop when the run's clock reaches `duration_s`.

    Returns the time and reason of the gate's last short stop of the robot; empty without one.

    Arguments:
        launch_file: name or path.
        files: output files.
        arguments: launch arguments, besides those for the recording.
        robot: name or folder.
        duration_s: length of the run by its own clock.
        show: called a few times a second with the latest sample.

    Raises:
        HeldError: the gate took control from the controller; in real time, the machine is too slow or too busy.
        RunError: a node died, or the run's clock stopped.
        LaunchError, UnknownNameError: nothing was started.
    """
    environment = {
        "ROS_DOMAIN_ID": str(free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        AT_ONCE: "1",
        LAUNCHER: str(os.getpid()),
    }
    files.log.parent.mkdir(parents=True, exist_ok=True)
    recording = {"record": "true", "record_file": str(files.recording)}
    with files.log.open("w", encoding="utf-8") as log:
        said: deque[str] = deque(maxlen=_KEPT_LINES)

        def listen(process: str, line: str) -> None:
            said.append(f"[{process}] {line}")
            log.write(f"[{process}] {line}\n")

        launch = Launch(launch_file, {**arguments, **recording}, listen, environment)
        with launch, _monitor(robot, environment, log) as (monitor, lines):
            return _follow(launch, monitor, lines, duration_s, show, said)


def free_domain() -> int:
    """Find a ROS domain that no node on this machine uses.

    The ports of its first participants must be free (DDSI-RTPS 2.5, 9.6.2).

    Raises:
        RunError: every domain is in use.
    """
    for offset in range(_DOMAINS):
        domain = 1 + (os.getpid() + offset) % _DOMAINS
        if all(_is_free(7400 + 250 * domain + 10 + 2 * participant) for participant in range(3)):
            return domain
    raise RunError(f"ROS nodes run in every one of the domains 1 to {_DOMAINS} on this machine")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _follow(
    launch: Launch,
    monitor: subprocess.Popen[str],
    lines: Queue[str],
    duration_s: float,
    show: Callable[[Sample], None],
    said: deque[str],
) -> str:
    """Show samples until the run's clock reaches duration_s; returns the gate's last stop."""
    reached_s, moved_at, stop, stopped = 0.0, monotonic(), "", None
    while reached_s < duration_s:
        launch.poll()
        dead = [process.name for process in launch.processes if process.returncode is not None]
        dead += ["monitor"] if monitor.poll() is not None else []
        if dead:
            raise RunError(f"{', '.join(dead)} ended before the run did:\n" + "\n".join(said))
        allowed_s = _STALL_TIMEOUT_S if reached_s > 0.0 else _START_TIMEOUT_S
        if monotonic() - moved_at > allowed_s:
            raise RunError(f"the run made no progress at {reached_s:.1f} s for {allowed_s:.0f} s:\n" + "\n".join(said))
        try:
            seen = json.loads(lines.get(timeout=0.2))
        except Empty:
            continue
        if seen["held"]:
            raise HeldError(f"the gate holds the robot at {reached_s:.1f} s: {seen['held']}")
        if seen["stopped"] and seen["stopped"] != stopped:
            stopped = seen["stopped"]
            stop = f"the gate stopped the robot at {reached_s:.1f} s: {stopped}"
        if seen["time_s"] is not None and seen["time_s"] > reached_s:
            reached_s, moved_at = seen["time_s"], monotonic()
            show(Sample(**seen))
    return stop


@contextmanager
def _monitor(
    robot: str, environment: Mapping[str, str], log: TextIO
) -> Iterator[tuple[subprocess.Popen[str], Queue[str]]]:
    """Start a monitor process; yields it and the queue of its output lines. Its errors go to the log."""
    command = (
        sys.executable,
        "-m",
        "metarl_robot.ros_nodes.monitor",
        "--robot",
        robot,
        "--hz",
        str(_LOOK_HZ),
        "--arm-when-recorded",
    )
    process = subprocess.Popen(
        command,
        env=node_environment(environment),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    lines: Queue[str] = Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        yield process, lines
    finally:
        process.terminate()
        try:
            process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(timeout=1.0)
