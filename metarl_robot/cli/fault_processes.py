# SPDX-License-Identifier: Apache-2.0
"""Faults between processes: real nodes over ROS 2 are launched, disturbed and checked.

Each run launches the robot's nodes in real time with a recorder, waits until commands pass, injects one fault and
observes the robot. A process that was not killed must not end, and the recording must be readable. This module does not
measure tracking errors; sim/faults_run.py does.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from metarl_robot.cli.launch import Launch
from metarl_robot.cli.launch_check import launch_file_for
from metarl_robot.core.errors import FaultError, MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.sim.faults_loop import COMMAND_DEADLINE_S
from metarl_robot.sim.faults_run import FaultRun
from metarl_robot.sim.faults_witness import Reached, Witness

if TYPE_CHECKING:
    from metarl_robot.ros_nodes.fault_probe import FaultProbe

_START_S = 120.0  # nodes may have to compile their code first
_AFTER_S, _REST_S = 3.0, 20.0
_STOPPED_S = (0.02, 2.0)
_END_S = 25.0
_CYCLES = 100
_TIMEOUT_S, _LONGEST_TIMEOUT_S = 0.04, 1.0  # the gate's command_timeout_s: default, maximum
_AT_WORK = ("passing", "holding")  # the gate holds a robot that cannot be controlled
_NODES = ("mpc", "gate", "reference", "recorder", "plant")
_TOLERANCE_S = 0.002  # of ages: the gate decides a little before the message is published


@dataclass
class Run:
    """State of one run.

    expected: nodes that the fault itself ends. retuned: the fault changes the gate's timeouts.
    """

    robot: Robot
    launch: Launch
    probe: FaultProbe
    rng: np.random.Generator
    expected: set[str] = field(default_factory=set)
    what: str = ""
    retuned: bool = False

    def send(self, node: str, number: signal.Signals) -> None:
        """Send a signal to a node's process."""
        self.launch.process(node).popen.send_signal(number)


@dataclass(frozen=True)
class ProcessKind:
    """One kind of fault. environment: makes the nodes' extra environment variables, given the run's folder."""

    name: str
    group: str
    text: str
    act: Callable[[Run], None]
    environment: Callable[[Path], Mapping[str, str]] = lambda folder: {}


def _kill(node: str, run: Run) -> None:
    run.expected.add(node)
    run.what = f"SIGKILL of {node}"
    run.send(node, signal.SIGKILL)


def _stop(node: str, run: Run) -> None:
    length_s = float(np.exp(run.rng.uniform(*np.log(_STOPPED_S))))
    run.what = f"SIGSTOP of {node} for {1e3 * length_s:.0f} ms"
    run.send(node, signal.SIGSTOP)
    threading.Event().wait(length_s)
    run.send(node, signal.SIGCONT)


def _garbage(run: Run) -> None:
    outs: dict[str, Any] = {}
    for kind, topic, message in run.probe.garbage(run.rng):
        out = outs.setdefault(topic, run.probe.stranger(kind, topic))
        out.publish(message)
        threading.Event().wait(0.02)


def _flood(run: Run) -> None:
    out, end_s = run.probe.commanding(), monotonic() + 0.5
    threading.Event().wait(0.3)  # until the gate has discovered this publisher
    while monotonic() < end_s + 0.3:
        random = run.rng.uniform(-3.0, 3.0, run.robot.nu) * run.robot.effort_limit
        out.publish(run.probe.command(random))


def _wrong_quality(run: Run) -> None:
    from metarl_robot.ros_nodes.fault_probe import odd_quality

    out = run.probe.commanding(odd_quality())
    for _ in range(50):
        out.publish(run.probe.command(np.zeros(run.robot.nu)))
        threading.Event().wait(0.01)


def _clock(times: Callable[[int], list[int]], run: Run) -> None:
    run.probe.send_clock(times(round(run.probe.time_s * 1e9)), 0.02)


def _pause(run: Run) -> None:
    run.probe.pause(True)
    threading.Event().wait(float(run.rng.uniform(0.05, 1.0)))
    run.probe.pause(False)


def _reset(run: Run) -> None:
    run.probe.trigger("/plant/reset_world")


def _parameters(run: Run) -> None:
    from metarl_robot.safety.fallback_law import gate_config
    from metarl_robot.sim.faults_nodes import ends_of

    run.retuned = True
    fields = gate_config(run.robot).model_fields
    for name in run.rng.permutation([name for name in fields if len(ends_of(fields[name])) == 2]):
        for end in ends_of(fields[str(name)]):
            run.probe.set_parameter("gate", str(name), end)


def _lifecycle(run: Run) -> None:
    for _ in range(_CYCLES):
        run.probe.cycle("mpc")


def _full_disk(run: Run) -> None:
    """Make all further writes of the recorder fail, as on a full disk."""
    pid = run.launch.process("recorder").popen.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


def _nothing(run: Run) -> None:
    """Do nothing: the fault is in the environment."""


def _no_home(folder: Path) -> dict[str, str]:
    home = folder / "home"
    home.write_text("a file, where nothing can be written below", encoding="utf-8")
    return {"HOME": str(home), "XDG_CACHE_HOME": "", "METARL_CACHE": str(home / "cache")}


def _no_compiler(folder: Path) -> dict[str, str]:
    return {"PATH": str(folder), "CC": "", "METARL_CACHE": str(folder / "cache")}


_CLOCKS: Mapping[str, tuple[str, Callable[[int], list[int]]]] = {
    "clock_zero": ("A second /clock at 0", lambda now: [0] * 20),
    "clock_back": (
        "A second /clock that runs backwards",
        lambda now: [now - k * 10**8 for k in range(20)],
    ),
    "clock_leap": ("A second /clock 1000 s ahead", lambda now: [now + 10**12] * 20),
}


def _kinds() -> Mapping[str, ProcessKind]:
    made = [
        *(ProcessKind(f"kill_{n}", "nodes", f"SIGKILL of the {n}", partial(_kill, n)) for n in _NODES),
        *(ProcessKind(f"stop_{n}", "nodes", f"SIGSTOP of the {n}", partial(_stop, n)) for n in _NODES),
        ProcessKind("garbage", "messages", "NaN, infinite, huge values and labels", _garbage),
        ProcessKind("stranger_flood", "messages", "Continuous commands from another publisher", _flood),
        ProcessKind("wrong_quality", "messages", "Commands of another quality of service", _wrong_quality),
        *(ProcessKind(name, "clock", text, partial(_clock, times)) for name, (text, times) in _CLOCKS.items()),
        ProcessKind("pause", "clock", "The simulation is paused for a while", _pause),
        ProcessKind("reset", "clock", "The simulation starts again at 0", _reset),
        ProcessKind("full_disk", "files", "The recorder's writes fail", _full_disk),
        ProcessKind("read_only_home", "files", "No home and no cache", _nothing, _no_home),
        ProcessKind("no_compiler", "files", "No compiler, an empty cache", _nothing, _no_compiler),
        ProcessKind("parameters", "parameters", "The gate's parameters at their extremes", _parameters),
        ProcessKind("lifecycle", "nodes", "mpc deactivated and activated 100 times", _lifecycle),
    ]
    return {kind.name: kind for kind in made}


KINDS = _kinds()


def run_process_fault(robot: Robot, kind: str, seed: int) -> FaultRun:
    """Run one fault with real processes, in real time.

    Raises:
        UnknownNameError: no such kind.
        FaultError: the nodes did not start working before the fault.
    """
    from metarl_robot.core.errors import UnknownNameError

    if kind not in KINDS:
        raise UnknownNameError("kind of fault", kind, KINDS)
    with TemporaryDirectory(prefix="metarl_faults_") as name:
        return _run(robot, KINDS[kind], seed, Path(name))


def _run(robot: Robot, kind: ProcessKind, seed: int, folder: Path) -> FaultRun:
    from metarl_robot.cli.node_run import free_domain
    from metarl_robot.ros_nodes.fault_probe import FaultProbe

    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    domain, lines = free_domain(), list[str]()
    arguments = {
        "robot": str(robot.folder),
        "seed": str(seed),
        "record": "true",
        "record_file": str(folder / "recording"),
    }
    environment = {"ROS_DOMAIN_ID": str(domain), **kind.environment(folder)}
    file = launch_file_for(robot.kind)
    launch = Launch(file, arguments, lambda process, line: lines.append(line), environment)
    probe = FaultProbe(robot, domain)
    run = Run(robot, launch, probe, np.random.default_rng([seed, *kind.name.encode()]), what=kind.text)
    try:
        launch.start()
        _wait(lambda: probe.gate.get("state") in _AT_WORK, _START_S, lines)
        _wait(lambda: probe.time_s > 1.5, _START_S, lines)
        begin = len(probe.efforts)
        with suppress(MetaRLError):  # a service that does not answer: its effect is measured
            kind.act(run)
        _settle(run)
        return _row(run, kind, seed, begin, folder)
    finally:
        launch.stop(grace_s=3.0, rest_s=_END_S)
        probe.close()


def _wait(condition: Callable[[], bool], limit_s: float, lines: list[str]) -> None:
    end_s = monotonic() + limit_s
    while not condition():
        if monotonic() > end_s:
            last = "\n".join(lines[-8:])
            raise FaultError(f"the nodes did not start working within {limit_s:g} s:\n{last}")
        threading.Event().wait(0.02)


def _settle(run: Run) -> None:
    """Wait until the robot is at rest or under command again."""
    threading.Event().wait(_AFTER_S)
    end_s = monotonic() + _REST_S
    gone = run.expected & {"gate", "plant"}
    while not gone and run.probe.gate.get("state") not in ("passing", "holding"):
        if monotonic() > end_s:
            return
        threading.Event().wait(0.05)
    if "gate" in gone:
        threading.Event().wait(2.0)


def _row(run: Run, kind: ProcessKind, seed: int, begin: int, folder: Path) -> FaultRun:
    probe = run.probe
    run.launch.poll()
    dead = [p.node for p in run.launch.processes if p.returncode is not None]
    ended = [f"{node} ended" for node in dead if node not in run.expected]
    if not _readable(folder / "recording"):
        ended.append("the recording cannot be read")
    truth, state = probe.truth, probe.gate.get("state", "none")
    landed = run.robot.lands and state == "holding"
    plant = probe.diagnostics.get("plant", {})
    fast = sum(int(plant.get(f"violations_{name}", 0)) for name in ("velocity", "speed", "rate"))
    down = truth is not None and "crashed" in truth.columns and truth.value("crashed") > 0.5
    reasons = [one["reason"] for one in probe.said if one.get("reason")]
    return FaultRun(
        robot=run.robot.name,
        kind=kind.name,
        seed=seed,
        where="processes",
        what=run.what,
        reached=_reached(run, begin),
        state="landed" if landed else _state(run, plant, state),
        latched=probe.gate.get("latched") == "True",
        recovered=state == "passing" and not run.expected & {"gate", "mpc", "plant"},
        crashed=bool(down and not landed and "gate" not in run.expected),
        velocity_violations=fast,
        error_before_m=0.0,
        error_after_m=0.0,
        ended=tuple(ended),
        said=tuple(dict.fromkeys(reasons)),
        refused={},
    )


def _state(run: Run, plant: Mapping[str, str], state: str) -> str:
    if "gate" in run.expected:
        return "stopped by the last hop" if plant.get("stopping") == "True" else "gate gone"
    return "plant gone" if "plant" in run.expected else state


def _reached(run: Run, begin: int) -> Reached:
    """Commands that the plant received. Those that it refused as stale did not act and are skipped.

    The rate check tolerates one control period more than within one process: on a busy machine, a node may be suspended
    between its decision and the publication.
    """
    witness, probe = Witness(run.robot, 2.0 * run.robot.control_period_s), run.probe
    refused = int(probe.diagnostics.get("plant", {}).get("command_stale", 0))
    timeout_s = _LONGEST_TIMEOUT_S if run.retuned else _TIMEOUT_S
    allowed_s = timeout_s + run.robot.control_period_s + _TOLERANCE_S
    for one in list(probe.efforts)[begin:]:
        if not np.all(np.isfinite(one.effort)):
            witness.not_finite()
            continue
        passed, age_s = probe.passed_at(one.written_s), probe.age_s(one)
        if passed and age_s is not None and age_s > COMMAND_DEADLINE_S and refused > 0:
            refused -= 1
            continue
        witness.received(one.written_s, one.effort, stranger=passed and one.strange)
        if passed and age_s is not None:
            witness.acts(age_s, allowed_s)
    return witness.reached


def _readable(path: Path) -> bool:
    """Whether a recording can be opened and holds at least one message."""
    from mcap.reader import NonSeekingReader

    found = sorted(path.glob("*.mcap"))
    if not found:
        return False
    count = 0
    with suppress(Exception), found[0].open("rb") as file:
        for _ in NonSeekingReader(file).iter_messages(log_time_order=False):
            count += 1
    return count > 0
