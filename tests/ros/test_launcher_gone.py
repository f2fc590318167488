# SPDX-License-Identifier: Apache-2.0
"""The launcher is gone while the robot moves: every node ends in the end, and none before the robot is at rest."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from metarl_robot.cli.launch_process import node_environment
from metarl_robot.cli.recording import read_run
from metarl_robot.ros_nodes.ending import CLOSE_WITHIN_S
from metarl_robot.ros_nodes.launcher_watch import AT_ONCE, KILL_S, LAUNCHER

WAIT_S = KILL_S + CLOSE_WITHIN_S + 60.0  # no verdict: a node that is still there then lives for ever

LAUNCHES = {
    "arm": ("arm", "robot:=planar2", "controller:=pid"),
    "quad": ("quad", "robot:=x500", "controller:=se3", "reference:=circle"),
}


class Launched:
    """`metarl launch` in a session and a terminal of its own. pids: of its nodes, by executable."""

    def __init__(self, domain: int, *arguments: str) -> None:
        variables = {name: value for name, value in os.environ.items() if name not in (AT_ONCE, LAUNCHER)}
        self._terminal, inside = os.openpty()
        command = f"{sys.executable} -m metarl_robot launch {' '.join(arguments)}; exit"  # a shell between, as with ssh
        self.shell = subprocess.Popen(
            ("sh", "-c", command.replace(sys.executable, '"$0"', 1), sys.executable),
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env={**variables, "ROS_DOMAIN_ID": str(domain)},
            preexec_fn=_own_terminal,
        )
        os.close(inside)
        self._said = ""
        self._open = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # nobody is on the other side any more
            while self._open:
                if select.select([self._terminal], [], [], 0.05)[0]:
                    self._said += os.read(self._terminal, 4096).decode(errors="replace")

    @property
    def said(self) -> str:
        return self._said

    @property
    def pids(self) -> dict[str, int]:
        return {
            name: int(pid) for name, pid in re.findall(r"\[(\w+)-\d+\]: process started with pid \[(\d+)\]", self._said)
        }

    @property
    def launcher(self) -> int:
        return int(Path(f"/proc/{self.shell.pid}/task/{self.shell.pid}/children").read_text().split()[0])

    def close_terminal(self) -> None:
        """As when an ssh session drops: the kernel sends SIGHUP to the session."""
        if self._open:
            self._open = False
            self._reader.join()
            os.close(self._terminal)

    def kill_launcher(self) -> None:
        os.kill(self.launcher, signal.SIGKILL)

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.kill(self.launcher, signal.SIGINT)

    def alive(self) -> dict[str, int]:
        return {name: pid for name, pid in self.pids.items() if runs(pid)}

    def clean_up(self) -> None:
        for pid in self.alive().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.shell.kill()
        self.shell.wait()
        self.close_terminal()


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], object], words: Callable[[], str]) -> None:
    """words: of the failure."""
    deadline = monotonic() + WAIT_S
    while not condition():
        assert monotonic() < deadline, words()
        threading.Event().wait(0.02)


@contextmanager
def in_motion(probe: Any, domain: int, robot: str, *arguments: str) -> Iterator[Launched]:
    """A launch after its robot has moved for a while."""
    launched = Launched(domain, *LAUNCHES[robot], *arguments)
    try:
        probe.wait_state("passing")
        probe.wait_until(probe.time_s + 1.0)
        yield launched
        wait_for(lambda: not launched.alive(), lambda: f"still alive: {launched.alive()}; gate: {probe.states[-3:]}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{launched.said}") from error
    finally:
        launched.clean_up()


def check_at_rest(probe: Any, robot: str) -> None:
    """The gate finished its law, and the plant was there until then: the robot stands, or has landed, and came to no
    harm.

    The nodes have ended, but on a busy machine some of their messages are still in the probe's queues.
    """
    probe.wait(lambda: probe.states[-1]["state"] == "holding", "the gate's last state")
    if robot == "quad":  # the plant counts any contact as a crash, and motors that are off as a violation
        probe.wait(lambda: probe.truth[-1].value("position_z_m") < 0.2, "the place where it landed")
        probe.wait(lambda: bool(np.all(probe.commands[-1].values == 0.0)), "the command that stops the motors")
        path = list(probe.truth)
        assert min(table.value("velocity_z_m_s") for table in path) > -1.5  # twice descent_speed_m_s
        # tilted by 0.8 rad
        assert max(abs(table.value(f"attitude_{axis}")) for table in path for axis in "xy") < np.sin(0.5 * 0.8)
    else:
        names = [name for name in probe.truth[-1].columns if "/velocity" in name]
        assert names
        probe.wait(lambda: max(abs(probe.truth[-1].value(name)) for name in names) < 0.1, "the arm at rest")
        assert not any(table.value("violations") or table.value("crashed") for table in list(probe.truth))


@pytest.mark.parametrize("lockstep", ["true", pytest.param("false", marks=pytest.mark.real_time)])
@pytest.mark.parametrize("robot", ["arm", "quad"])
def test_after_a_launcher_that_was_killed_the_robot_comes_to_rest_and_no_node_is_left(
    robot: str, lockstep: str, probe_alone: Callable[[], tuple[int, Any]], tmp_path: Path
) -> None:
    domain, probe = probe_alone()
    recording = tmp_path / "run"
    with in_motion(
        probe, domain, robot, f"lockstep:={lockstep}", "record:=true", f"record_file:={recording}"
    ) as launched:
        assert set(launched.pids) == {"recorder", "gate", "mpc", "reference", "plant"}
        launched.kill_launcher()
    check_at_rest(probe, robot)
    assert len(read_run(recording).time_s) > 0  # completed, and readable


def test_a_dropped_terminal_lands_a_quadrotor_before_anything_ends(probe_alone: Callable[[], tuple[int, Any]]) -> None:
    domain, probe = probe_alone()
    with in_motion(probe, domain, "quad", "lockstep:=true") as launched:
        launched.close_terminal()
    check_at_rest(probe, "quad")


@pytest.mark.real_time
def test_ctrl_c_brings_an_arm_to_rest_and_a_second_one_ends_a_quadrotor_in_flight(
    probe_alone: Callable[[], tuple[int, Any]],
) -> None:
    domain, probe = probe_alone()
    with in_motion(probe, domain, "arm", "lockstep:=true") as launched:
        launched.interrupt()
    check_at_rest(probe, "arm")
    domain, probe = probe_alone()
    with in_motion(probe, domain, "quad", "lockstep:=false") as launched:
        launched.interrupt()
        probe.wait_state("braking")
        threading.Event().wait(0.6)  # two signals within half a second are one request
        launched.interrupt()
    assert probe.states[-1]["state"] == "braking"


# One node and a parent that is not ours.

PARENT = """
import subprocess, sys
arguments = ["--ros-args", "-p", "robot:=planar2"]
child = subprocess.Popen([sys.executable, "-m", "metarl_robot.ros_nodes.reference", *arguments],
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
print(child.pid, flush=True)
for line in child.stdout:
    if "activated" in line:
        print("activated", flush=True)
        break
import time
time.sleep(1000)
"""


@contextmanager
def orphan(domain: int, **variables: str) -> Iterator[int]:
    """A reference node that runs, after its parent was killed."""
    environment = {name: value for name, value in node_environment().items() if name != LAUNCHER}
    environment |= {"ROS_DOMAIN_ID": str(domain), **variables}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    try:
        assert "activated" in parent.stdout.readline()
        parent.kill()
        parent.wait()
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_node_of_any_launcher_notices_when_its_parent_is_gone(probe_alone: Callable[[], tuple[int, Any]]) -> None:
    with orphan(probe_alone()[0], **{LAUNCHER: "parent"}) as pid:
        wait_for(lambda: not runs(pid), lambda: "the node lives on")


def test_a_node_that_was_started_by_hand_is_bound_to_nothing(probe_alone: Callable[[], tuple[int, Any]]) -> None:
    domain, probe = probe_alone()
    with orphan(domain) as pid:
        probe.wait(lambda: "reference" in probe.node.get_node_names(), "the node in the graph")
        threading.Event().wait(1.0)  # a node that notices ends within a tenth of that
        assert runs(pid)
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not runs(pid), lambda: "the node lives on")


HANGS_AT_THE_END = """
import ctypes
from metarl_robot.ros_nodes import ending
from metarl_robot.ros_nodes.reference import ReferenceNode
from metarl_robot.ros_nodes.runtime import run

class Hangs(ReferenceNode):
    def destroy_node(self):
        ctypes.PyDLL(None).pause()  # native code that does not release Python's lock

ending.CLOSE_WITHIN_S = 1
run(Hangs, ["--ros-args", "-p", "robot:=planar2"])
"""


def test_a_node_that_hangs_while_it_is_released_is_killed(probe_alone: Callable[[], tuple[int, Any]]) -> None:
    domain, probe = probe_alone()
    node = subprocess.Popen(
        [sys.executable, "-c", HANGS_AT_THE_END], env={**node_environment(), "ROS_DOMAIN_ID": str(domain)}
    )
    try:
        probe.wait(lambda: "reference" in probe.node.get_node_names(), "the node in the graph")
        node.terminate()
        assert node.wait(WAIT_S) == -signal.SIGALRM
    finally:
        node.kill()
        node.wait()
