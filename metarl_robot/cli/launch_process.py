"""Running the processes of a launch file: start, prefix their output, forward signals, say who died.

The words are those of `ros2 launch`. A node that dies leaves the others running (a gate must go on holding the robot). When
all is to end, every process gets SIGINT, then SIGTERM, then SIGKILL, `GRACE_S` apart.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import yaml

from metarl_robot.cli.launch_check import check_start
from metarl_robot.cli.launch_file import PACKAGE, LaunchError, NodeSpec, evaluate, find_launch_file, find_prefix, find_share

GRACE_S = 5.0  # between SIGINT, SIGTERM and SIGKILL
LAUNCHER = "launch"  # who says the lines that no process wrote
_POLL_S = 0.05
_OUR_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)

_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # of Fast DDS 2 (Jazzy) and 3 (Kilted)

Output = Callable[[str, str], None]


def print_line(process: str, line: str) -> None:
    """Output of a launch to the terminal: `[mpc-2] text`, and the launcher's own lines as they are."""
    print(line if process == LAUNCHER else f"[{process}] {line}", flush=True)


@dataclass
class Process:
    """One running node. name: executable and number, as in `mpc-2`; node: the name it has in ROS."""

    name: str
    node: str
    command: tuple[str, ...]
    popen: subprocess.Popen[str]
    reader: threading.Thread
    stopped_by_us: bool = False
    reported: bool = False

    @property
    def returncode(self) -> int | None:
        return self.popen.poll()

    @property
    def failed(self) -> bool:
        """Ended by itself with an error: a node that ends with one of our signals, or cleanly, has not failed."""
        code = self.returncode
        if code in (None, 0):
            return False
        return not (self.stopped_by_us and -code in _OUR_SIGNALS)


class Launch:
    """A launch file at work.

    Arguments:
        file_or_name: a launch file, or the name of a shipped one.
        arguments: launch arguments, name → value.
        on_output: called with (process, line) for every line of output, from other threads.
        environment: added to the environment of every node.

    Raises:
        LaunchError, UnknownNameError: before anything is started.
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
        """Nobody reads the output any more (`metarl launch arm | head`)."""

    def __enter__(self) -> Launch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every node."""
        self._folder = TemporaryDirectory(prefix="metarl_launch_")
        commands = [self._command(spec, number) for number, spec in enumerate(self.specs, 1)]
        for number, (spec, command) in enumerate(zip(self.specs, commands, strict=True), 1):
            self.processes.append(self._spawn(f"{spec.executable}-{number}", spec, command))

    def process(self, node: str) -> Process:
        """The process of a node, by its ROS name. Raises LaunchError."""
        for process in self.processes:
            if process.node == node:
                return process
        raise LaunchError(f"no process of node '{node}'; there are: {[p.node for p in self.processes]}")

    def poll(self) -> bool:
        """Report who has ended since the last call. True while any process runs."""
        running = False
        for process in self.processes:
            if process.returncode is None:
                running = True
            elif not process.reported:
                self._report(process)
        return running

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until every process has ended, or for timeout_s. True when all have ended."""
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while self.poll():
            if deadline is not None and monotonic() >= deadline:
                return False
            _sleep(_POLL_S)
        return True

    def stop(self, grace_s: float = GRACE_S) -> int:
        """End every process: SIGINT, SIGTERM, SIGKILL, grace_s apart. Returns the exit code of the launch."""
        for signal_number in _OUR_SIGNALS:
            if not self.poll():
                break
            self._send(signal_number)
            self.wait(grace_s)
        self.poll()
        for process in self.processes:
            process.reader.join(timeout=grace_s)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        return self.exit_code

    @property
    def exit_code(self) -> int:
        """1 when a process failed, else 0."""
        return int(any(process.failed for process in self.processes))

    def _send(self, signal_number: signal.Signals) -> None:
        for process in self.processes:
            if process.returncode is None:
                self._say(
                    "INFO" if signal_number is signal.SIGINT else "ERROR", process, f"sending signal '{signal_number.name}' to process"
                )
                process.stopped_by_us = True
                process.popen.send_signal(signal_number)

    def _say(self, level: str, process: Process, text: str) -> None:
        self._emit(LAUNCHER, f"[{level}] [{process.name}]: {text}")

    def _emit(self, process: str, line: str) -> None:
        """Output a line, as long as somebody reads: a closed pipe must keep nobody from stopping the nodes."""
        if not self.unheard:
            try:
                self._output(process, line)
            except BrokenPipeError:
                self.unheard = True

    def _report(self, process: Process) -> None:
        process.reported = True
        process.reader.join(timeout=1.0)
        if process.failed:
            command = shlex.join(process.command)
            self._say("ERROR", process, f"process has died [pid {process.popen.pid}, exit code {process.returncode}, cmd '{command}']")
        else:
            self._say("INFO", process, f"process has finished cleanly [pid {process.popen.pid}]")

    def _spawn(self, name: str, spec: NodeSpec, command: tuple[str, ...]) -> Process:
        popen = subprocess.Popen(
            command,
            env=node_environment({**self._environment, **spec.environment}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the nodes once, through us
        )
        reader = threading.Thread(target=self._read, args=(name, popen), name=f"output of {name}", daemon=True)
        process = Process(name, spec.name or spec.executable, command, popen, reader)
        self._say("INFO", process, f"process started with pid [{popen.pid}]")
        reader.start()
        return process

    def _read(self, name: str, popen: subprocess.Popen[str]) -> None:
        if popen.stdout is not None:
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


def executable_of(package: str, executable: str) -> tuple[str, ...]:
    """The words that start an executable of a ROS package; our own nodes run as modules of this Python. Raises LaunchError."""
    if package == PACKAGE:
        module = f"{PACKAGE}.ros_nodes.{executable}"
        if not executable.isidentifier() or importlib.util.find_spec(module) is None:
            raise LaunchError(f"executable '{executable}' not found in package '{package}'")
        return sys.executable, "-m", module
    path = find_prefix(package) / "lib" / package / executable
    if not os.access(path, os.X_OK):
        raise LaunchError(f"executable '{executable}' not found on the libexec directory '{path.parent}'")
    return (str(path),)


def node_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that nodes are started with.

    Output unbuffered; one thread for numerical libraries (the cores are for the nodes); the ament index of this Python's
    wheels where ROS 2 is not sourced; nodes that find each other at once (launch/fastdds.xml); this very package importable, also
    from a checkout that is not installed. What ROS's wheels need to be found is in our own environment already, so the nodes do
    not start themselves twice.
    """
    environment = dict(os.environ)
    environment["PYTHONUNBUFFERED"] = "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.setdefault(name, "1")
    if (Path(sys.prefix) / "share" / "ament_index").is_dir():
        environment.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    profile = find_share(PACKAGE) / "launch" / "fastdds.xml"
    if profile.is_file() and not any(name in environment for name in _PROFILE_VARIABLES):
        prefixes = environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        older = any((Path(prefix) / "share" / "fastrtps").is_dir() for prefix in prefixes if prefix)
        environment[_PROFILE_VARIABLES[0 if older else 1]] = str(profile)
    root = str(Path(__file__).resolve().parents[2])
    paths = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    if "site-packages" not in root and root not in paths:
        environment["PYTHONPATH"] = os.pathsep.join([root, *paths])
    environment.update(extra or {})
    return environment


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)
