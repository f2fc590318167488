# SPDX-License-Identifier: Apache-2.0
"""Changes of controller in motion, every ordered pair: the loop never waits for one.

Three tests of the same property. Python's audit events show that a change reads no file and imports
nothing in the loop's thread: a verdict without a clock. In lockstep every pair is judged by commands and
parameters. In real time, from a cold start, the gate must stay in PASSING although it waits for commands
for 0.3 s only (a change took 0.7 s before). Other processes that take the machine's cores can break
that without a fault of ours, so that a pair is tried up to three times and gives the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python

from metarl_robot.cli.launch_process import node_environment
from metarl_robot.control.factory import config_type, load_config, node_controller_names
from metarl_robot.core.robot import load_robot
from metarl_robot.ros_nodes.mpc import CONFIG_PREFIX

_WATCH = """
import gc, json, sys, threading
import rclpy
from rclpy.parameter import Parameter
robot, first = sys.argv[1:3]
rclpy.init(args=["--ros-args", "-p", f"robot:={robot}", "-p", f"controller:={first}", "-p", "autostart:=false"])
from metarl_robot.ros_nodes.mpc import MpcNode
node = MpcNode()
node.trigger_configure()
seen, loop = [], threading.get_ident()
watching = False
def hook(event, arguments):
    slow = ("import", "open", "os.listdir", "os.scandir", "subprocess.Popen")
    if watching and threading.get_ident() == loop and event in slow:
        seen.append(f"{event} {arguments[0]}")
sys.addaudithook(hook)
modules = set(sys.modules)
for name in (*node._names, *node._names):
    if name == node._name:
        continue
    watching = True
    (result,) = node.set_parameters([Parameter("controller", value=name)])
    watching = False
    assert result.successful, result.reason
    while not node._builder.done:
        threading.Event().wait(0.002)
    watching = True
    node._exchange(node._transfer, node._builder)
    watching = False
    assert node._name == name
print(json.dumps({"seen": seen, "modules": sorted(set(sys.modules) - modules)}))
node.close()
node.destroy_node()
rclpy.shutdown()
"""


class Case(NamedTuple):
    """A launch file, its robot, and the controller that is at work first."""

    file: str
    robot: str
    first: str


ARM, QUAD, PANDA = Case("arm", "planar2", "pid"), Case("quad", "x500", "se3"), Case("arm", "panda", "pid")
ATTEMPTS = 3
PATIENT = """
/gate:
  ros__parameters: {command_timeout_s: 0.3, state_timeout_s: 0.3}
"""


def every_pair(names: tuple[str, ...], first: str) -> list[tuple[str, str]]:
    """All ordered pairs as one walk from `first`: an Eulerian circuit (Hierholzer) of the complete digraph."""
    ways = {a: [b for b in names if b != a] for a in names}
    stack, walk = [first], list[str]()
    while stack:
        if ways[stack[-1]]:
            stack.append(ways[stack[-1]].pop())
        else:
            walk.append(stack.pop())
    walk.reverse()
    return list(zip(walk, walk[1:], strict=False))


def there_and_back(names: tuple[str, ...], first: str) -> list[tuple[str, str]]:
    """From `first` to every other one and back."""
    return [pair for name in names if name != first for pair in ((first, name), (name, first))]


def test_the_walk_visits_every_pair_once() -> None:
    names = ("a", "b", "c", "d")
    pairs = every_pair(names, "b")
    assert pairs[0][0] == "b" and all(x[1] == y[0] for x, y in zip(pairs, pairs[1:], strict=False))
    assert sorted(pairs) == sorted((a, b) for a in names for b in names if a != b)


@pytest.mark.parametrize("case", [ARM, QUAD], ids=lambda case: case.robot)
def test_a_change_neither_reads_nor_imports_in_the_loop(case: Case) -> None:
    command = [sys.executable, "-c", _WATCH, case.robot, case.first]
    done = subprocess.run(command, env=node_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen == {"seen": [], "modules": []}


class Walk:
    """A running robot with a controller that is changed again and again."""

    def __init__(self, start: Callable, case: Case, first: str, **arguments: str) -> None:
        self.session = start(case.file, robot=case.robot, controller=first, **arguments)
        self.probe, self.robot = self.session.probe, load_robot(case.robot)
        self.probe.wait_state("passing")
        self.probe.wait_until(0.5)
        self.changes = 0

    def change(self, name: str) -> None:
        result = self.probe.set_parameter("mpc", "controller", name)
        assert result.successful, result.reason
        self.changes += 1
        self.probe.wait(lambda: len(self.taken_over()) >= self.changes, f"{name} at work")

    def taken_over(self) -> list[str]:
        return [line for line in self.session.lines if "has taken over" in line]

    def tuning(self, name: str) -> dict[str, object]:
        """The parameters below `controller_config.` that the controller's configuration has."""
        keys = tuple(config_type(self.robot.kind, name).model_fields)
        request = GetParameters.Request(names=[CONFIG_PREFIX + key for key in keys])
        values = self.probe.call(GetParameters, "/mpc/get_parameters", request).values
        return dict(zip(keys, (parameter_value_to_python(value) for value in values), strict=True))


@pytest.mark.parametrize("case", [ARM, QUAD], ids=lambda case: case.robot)
def test_every_pair_changes_in_motion_and_brings_its_own_tuning(start: Callable, case: Case) -> None:
    walk = Walk(start, case, case.first, lockstep="true")
    names = node_controller_names(walk.robot.kind)
    shipped = {name: load_config(walk.robot, name).model_dump() for name in names}
    for _, name in every_pair(names, case.first):
        walk.change(name)
        assert walk.tuning(name) == pytest.approx(shipped[name])
    stops = [state for state in walk.probe.states if state["state"] not in ("waiting", "passing")]
    assert not stops, stops
    walk.session.finish()


@pytest.fixture(scope="module")
def arm(start: Callable) -> Walk:
    return Walk(start, ARM, ARM.first, lockstep="true")


def test_a_change_during_a_change_is_refused_and_the_first_one_goes_on(arm: Walk) -> None:
    wanted = [Parameter("controller", value=name).to_parameter_msg() for name in ("meta_mpc", "nominal_mpc")]
    first, second = arm.probe.call(
        SetParameters, "/mpc/set_parameters", SetParameters.Request(parameters=wanted)
    ).results
    assert first.successful and not second.successful and "'meta_mpc' is being built; try again" in second.reason
    arm.changes += 1
    arm.probe.wait(lambda: len(arm.taken_over()) >= arm.changes, "meta_mpc at work")
    assert arm.probe.parameter("mpc", "controller") == "meta_mpc"


def test_a_change_while_the_gate_holds_is_at_work_once_it_is_rearmed(arm: Walk) -> None:
    assert arm.probe.trigger("/gate/estop").success
    arm.probe.wait_state("holding", latched=True)
    arm.change("offset_free_mpc")
    assert arm.probe.trigger("/gate/rearm").success
    arm.probe.wait_state("passing")
    arm.probe.wait_until(arm.probe.time_s + 1.0)
    assert arm.probe.states[-1]["state"] == "passing" and arm.probe.parameter("mpc", "controller") == "offset_free_mpc"


@pytest.mark.parametrize("end", ["lower", "upper"])
def test_a_tuning_at_its_extremes_ends_no_node(arm: Walk, end: str) -> None:
    """Such a tuning may shake the arm until the gate stops it; the node goes on, and says no traceback."""
    name = "offset_free_mpc"
    if arm.probe.parameter("mpc", "controller") != name:
        arm.change(name)
    for key in config_type("arm", name).model_fields:
        descriptor = arm.probe.describe("mpc", CONFIG_PREFIX + key)
        (allowed,) = (*descriptor.floating_point_range, *descriptor.integer_range)
        value = allowed.from_value if end == "lower" else allowed.to_value
        result = arm.probe.set_parameter("mpc", CONFIG_PREFIX + key, value)
        assert result.successful or "greater than" in result.reason, result.reason
        if result.successful:
            arm.changes += 1
            arm.probe.wait(lambda: len(arm.taken_over()) >= arm.changes, f"{key} = {value} at work")
    assert not arm.session.said("Traceback")
    for key, value in load_config(arm.robot, name).model_dump().items():
        assert arm.probe.set_parameter("mpc", CONFIG_PREFIX + key, value).successful
        arm.changes += 1
        arm.probe.wait(lambda: len(arm.taken_over()) >= arm.changes, f"{key} back")


@pytest.mark.slow
@pytest.mark.parametrize("case", [PANDA, QUAD], ids=lambda case: case.robot)
def test_in_real_time_no_change_keeps_the_gate_waiting(start: Callable, case: Case, tmp_path: Path) -> None:
    patient = tmp_path / "patient.yaml"
    patient.write_text(PATIENT)
    pairs = there_and_back(node_controller_names(load_robot(case.robot).kind), case.first)
    done = 0
    for attempt in range(ATTEMPTS):
        walk = Walk(start, case, pairs[done][0], params=str(patient))
        while done < len(pairs):
            before = len(walk.probe.states)
            walk.change(pairs[done][1])
            left = [state for state in walk.probe.states[before:] if state["state"] != "passing"]
            if left:
                print(
                    f"attempt {attempt}: {pairs[done]}: {left[0]}; load {os.getloadavg()}: again, for it may be the "
                    "machine's"
                )
                break
            done += 1
        gaps_ms = [float(line.rpartition("meanwhile: ")[2].split()[0]) for line in walk.taken_over()]
        print(f"{case.robot}: longest time between two commands, by change [ms]: {gaps_ms}; load {os.getloadavg()}")
        walk.session.launch.stop()
        if done == len(pairs):
            return
    pytest.fail(f"{pairs[done]}: the gate stopped the robot in each of {ATTEMPTS} attempts")
