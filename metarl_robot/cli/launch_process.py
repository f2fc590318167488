# SPDX-License-Identifier: Apache-2.0
"""Processes of a launch: start them, prefix their output, forward signals and report failures.

Messages have the wording of `ros2 launch`. When a node dies, the others continue, because the gate must still hold the
robot. To stop, every process gets SIGINT, SIGTERM and SIGKILL, `GRACE_S` apart. After SIGINT, our gate brings the robot
to rest, and our plant waits for it; these two get `REST_S` before SIGTERM.

Nodes do not outlive the launcher: each knows its process id, and ends when that process is gone
(ros_nodes/launcher_watch.py).
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import yaml

from metarl_robot.cli.launch_check import check_start
from metarl_robot.cli.launch_file import (
    PACKAGE,
    LaunchError,
    NodeSpec,
    evaluate,
    find_launch_file,
    find_prefix,
    find_share,
)
from metarl_robot.cli.launch_values import module_of, node_name
from metarl_robot.ros_nodes.launcher_watch import LAUNCHER as LAUNCHER_VARIABLE
from metarl_robot.ros_nodes.unique_name import check_name

GRACE_S = 5.0  # between SIGINT, SIGTERM and SIGKILL
REST_S = 100.0  # longer than a gate takes to bring a robot to rest (ros_nodes/ending.py)
LAUNCHER = "launch"  # name of the launcher in its own output lines
_POLL_S = 0.05
# our executables that end only when the robot is at rest
_PATIENT = (
    "gate",
    "mpc_with_gate",
    "drive_bridge",
    "driver",
    "plant",
    "betaflight_bridge",
    "betaflight_plant",
    "ros2_control_bridge",
)
_OUR_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)

_PROFILES = (("fastrtps.xml", "FASTRTPS_DEFAULT_PROFILES_FILE"), ("fastdds.xml", "FASTDDS_DEFAULT_PROFILES_FILE"))
"""Files in launch/, and the variables that name them, of Fast DDS 2 (Jazzy) and 3 (Kilted)."""

_REACH_VARIABLES = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS")
"""If one of these is set, the user has chosen the discovery range of nodes."""

Output = Callable[[str, str], None]


def print_line(process: str, line: str) -> None:
    """Print a line of output as `[mpc-2] text`; the launcher's own lines have no prefix."""
    print(line if process == LAUNCHER else f"[{process}] {line}", flush=True)


@dataclass
class Process:
    """One running node.

    name: executable and number, as in `mpc-2`; node: its ROS name; patient: see `_PATIENT`.
    """

    name: str
    node: str
    command: tuple[str, ...]
    popen: subprocess.Popen[str]
    reader: threading.Thread
    patient: bool = False
    stopped_by_us: bool = False
    reported: bool = False

    @property
    def returncode(self) -> int | None:
        return self.popen.poll()

    @property
    def failed(self) -> bool:
        """Whether the process ended with an error; ending by one of our signals does not count."""
        code = self.returncode
        if code in (None, 0):
            return False
        return not (self.stopped_by_us and -code in _OUR_SIGNALS)


class Launch:
    """A running launch file.

    Arguments:
        file_or_name: a launch file, or the name of a shipped one.
        arguments: launch arguments, name → value.
        on_output: called with (process, line) for every line of output, from other threads.
        environment: added to the environment of every node.

    Raises:
        LaunchError, UnknownNameError: nothing was started.
        NameTakenError: nothing was started, because a node of the same name is running.
    """

    def __init__(
        self,
        file_or_name: str | Path,
        arguments: Mapping[str, str] | None = None,
        on_output: Output = print_line,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.path = find_launch_file(file_or_name)
        self.specs = evaluate(self.path, arguments or {})
        check_start(self.path, self.specs)
        self._output = on_output
        self._environment = dict(environment or {})
        self._folder: TemporaryDirectory[str] | None = None
        self.processes: list[Process] = []
        self.unheard = False
        """True when nobody reads the output any more (`metarl launch arm | head`)."""
        self._is_spawning = self._is_interrupted = False

    def __enter__(self) -> Launch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every node."""
        domain, variables = self._check_names(), node_environment(self._environment)
        self.say("INFO", f"ROS domain {domain}, {_reach(variables)}")
        self._folder = TemporaryDirectory(prefix="metarl_launch_")
        commands = [self._command(spec, number) for number, spec in enumerate(self.specs, 1)]
        for number, (spec, command) in enumerate(zip(self.specs, commands, strict=True), 1):
            self._is_spawning = True
            try:
                self.processes.append(self._spawn(f"{spec.executable}-{number}", spec, command))
            finally:
                self._is_spawning = False
            if self._is_interrupted:
                raise KeyboardInterrupt

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt, for a signal handler; not before a process that is being started can be ended."""
        if not self._is_spawning:
            raise KeyboardInterrupt
        self._is_interrupted = True

    def _check_names(self) -> int:
        """Return the ROS domain.

        Raises:
            NameTakenError: one of our nodes runs there already.
            LaunchError: ROS_DOMAIN_ID is invalid.
        """
        given = {**os.environ, **self._environment}.get("ROS_DOMAIN_ID", "0") or "0"
        if not re.fullmatch("[0-9]{1,3}", given):
            raise LaunchError(f"ROS_DOMAIN_ID is '{given}'; it must be a number from 0 to 101")
        for spec in self.specs:
            if spec.package == PACKAGE:
                check_name(int(given), node_name(spec))
        return int(given)

    def process(self, node: str) -> Process:
        """Process of a node, by its ROS name. Raises LaunchError."""
        for process in self.processes:
            if process.node == node:
                return process
        raise LaunchError(f"no process of node '{node}'; there are: {[p.node for p in self.processes]}")

    def poll(self, processes: Sequence[Process] | None = None) -> bool:
        """Report processes that ended since the last call; True while any of `processes` (None: all) runs."""
        for process in self.processes:
            if process.returncode is not None and not process.reported:
                self._report(process)
        return any(process.returncode is None for process in (self.processes if processes is None else processes))

    def wait(self, timeout_s: float | None = None, processes: Sequence[Process] | None = None) -> bool:
        """Wait until `processes` (None: all) have ended, for at most timeout_s.

        Returns True when all have ended.
        """
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while self.poll(processes):
            if deadline is not None and monotonic() >= deadline:
                return False
            _sleep(_POLL_S)
        return True

    def stop(self, grace_s: float = GRACE_S, rest_s: float = REST_S) -> int:
        """End every process: SIGINT, SIGTERM and SIGKILL, grace_s apart.

        Nodes that bring a robot to rest get rest_s after SIGINT. Returns the exit code of the launch.
        """
        if self.poll():
            self._send(signal.SIGINT, self.processes)
            self._end([process for process in self.processes if not process.patient], grace_s, grace_s)
            self._end([process for process in self.processes if process.patient], rest_s, grace_s)
        self.poll()
        for process in self.processes:
            process.reader.join(timeout=grace_s)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        return self.exit_code

    def _end(self, processes: Sequence[Process], first_s: float, grace_s: float) -> None:
        """Wait for processes that got SIGINT; send SIGTERM, then SIGKILL, to those that do not end."""
        self.wait(first_s, processes)
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            self._send(signal_number, processes)
            self.wait(grace_s, processes)

    @property
    def exit_code(self) -> int:
        """1 when a process failed, else 0."""
        return int(any(process.failed for process in self.processes))

    def _send(self, signal_number: signal.Signals, processes: Sequence[Process]) -> None:
        for process in processes:
            if process.returncode is None:
                self._say(
                    "INFO" if signal_number is signal.SIGINT else "ERROR",
                    process,
                    f"sending signal '{signal_number.name}' to process",
                )
                process.stopped_by_us = True
                process.popen.send_signal(signal_number)

    def say(self, level: str, text: str) -> None:
        """Print a line of the launcher itself."""
        self._emit(LAUNCHER, f"[{level}] [launch]: {text}")

    def _say(self, level: str, process: Process, text: str) -> None:
        self._emit(LAUNCHER, f"[{level}] [{process.name}]: {text}")

    def _emit(self, process: str, line: str) -> None:
        """Print a line while the output is open; a closed pipe or terminal must not prevent stopping the nodes."""
        if not self.unheard:
            try:
                self._output(process, line)
            except OSError:
                self.unheard = True

    def _report(self, process: Process) -> None:
        process.reported = True
        process.reader.join(timeout=1.0)
        if process.failed:
            command = shlex.join(process.command)
            self._say(
                "ERROR",
                process,
                f"process has died [pid {process.popen.pid}, exit code {process.returncode}, cmd '{command}']",
            )
        else:
            self._say("INFO", process, f"process has finished cleanly [pid {process.popen.pid}]")

    def _spawn(self, name: str, spec: NodeSpec, command: tuple[str, ...]) -> Process:
        popen = subprocess.Popen(
            command,
            env=_bound(node_environment({**self._environment, **spec.environment})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C must reach the nodes once, from the launcher
        )
        reader = threading.Thread(target=self._read, args=(name, popen), name=f"output of {name}", daemon=True)
        process = Process(name, spec.name or spec.executable, command, popen, reader, is_patient(spec))
        self._say("INFO", process, f"process started with pid [{popen.pid}]")
        reader.start()
        return process

    def _read(self, name: str, popen: subprocess.Popen[str]) -> None:
        if popen.stdout is not None:
            with popen.stdout:
                for line in popen.stdout:
                    self._emit(name, line.rstrip("\n"))

    def _command(self, spec: NodeSpec, number: int) -> tuple[str, ...]:
        words = [*executable_of(spec.package, spec.executable), *shlex.split(spec.arguments), "--ros-args"]
        if spec.name is not None:
            words += ["-r", f"__node:={spec.name}"]
        if spec.namespace:
            words += ["-r", f"__ns:=/{spec.namespace.lstrip('/')}"]
        for file in spec.parameter_files:
            words += ["--params-file", str(file)]
        if spec.parameters and self._folder is not None:
            file = Path(self._folder.name) / f"{spec.executable}-{number}.yaml"
            file.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(spec.parameters)}}), encoding="utf-8")
            words += ["--params-file", str(file)]
        for source, target in spec.remaps:
            words += ["-r", f"{source}:={target}"]
        return tuple(words)


def is_patient(spec: NodeSpec) -> bool:
    """Whether a node ends only when the robot is at rest."""
    return spec.package == PACKAGE and spec.executable in _PATIENT


def executable_of(package: str, executable: str) -> tuple[str, ...]:
    """Command that starts an executable of a ROS package; our own nodes run as modules of this Python.

    Raises LaunchError.
    """
    if package == PACKAGE:
        return sys.executable, "-m", module_of(executable)
    path = find_prefix(package) / "lib" / package / executable
    if not os.access(path, os.X_OK):
        raise LaunchError(f"executable '{executable}' not found on the libexec directory '{path.parent}'")
    return (str(path),)


def _bound(variables: dict[str, str]) -> dict[str, str]:
    """Environment that binds a node's life to this process, unless the user disabled that."""
    return (
        variables if variables.get(LAUNCHER_VARIABLE) == "none" else {**variables, LAUNCHER_VARIABLE: str(os.getpid())}
    )


def _reach(variables: Mapping[str, str]) -> str:
    """Description of the discovery range that these variables give to nodes."""
    given = [f"{name}={variables[name]}" for name in _REACH_VARIABLES if variables.get(name)]
    if given == ["ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"]:
        return "this machine only (to reach other machines: ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET)"
    return ", ".join(given) or "ROS's own discovery range"


def node_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment for starting nodes.

    - Output is unbuffered.
    - Numerical libraries use one thread, because the cores are for the nodes.
    - The ament index is that of this Python's wheels where ROS 2 is not sourced.
    - Nodes discover each other at once and send lost messages again within 0.1 s (launch/fastrtps.xml). They are not
      visible to other machines unless the environment asks for it.
    - This package is importable, also from a checkout that is not installed.

    The libraries of ROS's wheels are in our own environment already, so nodes need not restart themselves.
    """
    environment = dict(os.environ)
    environment["PYTHONUNBUFFERED"] = "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.setdefault(name, "1")
    if (Path(sys.prefix) / "share" / "ament_index").is_dir():
        environment.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    if not any(variable in environment for _, variable in _PROFILES):
        prefixes = environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        older = any((Path(prefix) / "share" / "fastrtps").is_dir() for prefix in prefixes if prefix)
        name, variable = _PROFILES[0 if older else 1]
        environment[variable] = str(find_share(PACKAGE) / "launch" / name)
    root = str(Path(__file__).resolve().parents[2])
    paths = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    if "site-packages" not in root and root not in paths:
        environment["PYTHONPATH"] = os.pathsep.join([root, *paths])
    environment.update(extra or {})
    if not any(environment.get(name) for name in _REACH_VARIABLES):
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return environment


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)
