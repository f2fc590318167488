# SPDX-License-Identifier: Apache-2.0
"""`metarl launch` refuses what a node would refuse, by the node's own code, before any process starts."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import rclpy
from pydantic import BaseModel
from rclpy.node import Node
from rclpy.parameter import Parameter

from metarl_robot.cli.launch import Launch, LaunchError
from metarl_robot.cli.launch_file import NodeSpec
from metarl_robot.cli.launch_values import module_of, node_name, start_values
from metarl_robot.core.errors import MetaRLError
from metarl_robot.ros_nodes.parameters import Parameters, StartValues

EXECUTABLES = sorted(path.name for path in (Path(__file__).parents[2] / "ros_nodes" / "executables").iterdir())
WITHOUT_VALUES = ("monitor", "security_policy")  # they are started by our own commands, not by launch files


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("arm", {"limit_scale": "-1"}, "/gate: parameter 'limit_scale': .*given: -1.0.*allowed: \\[0.05, 1.0\\]"),
        ("arm", {"namespace": "left", "plan_hz": "0"}, "/left/mpc: parameter 'plan_hz'"),
        ("arm", {"gate": "inside", "limit_scale": "3"}, "/mpc_with_gate: parameter 'limit_scale'"),
        ("arm", {"seed": "1.5"}, "/reference: parameter 'seed'"),
        ("arm", {"checkpoint": "/nowhere.safetensors"}, "/mpc: /nowhere.json: no such file; train one with"),
        ("arm", {"shadow": "true", "checkpoint": "/nowhere.safetensors"}, "/shadow: /nowhere.json: no such file"),
        ("arm", {"suite": "heldup"}, "/plant: unknown suite 'heldup'. Did you mean 'heldout'"),
        ("arm", {"reference": "suite"}, "/reference: unknown suite ''"),
        ("quad", {"limit_scale": "0.01"}, "/gate: parameter 'limit_scale'"),
        ("ground", {"limit_scale": "7"}, "/gate: parameter 'limit_scale'"),
        ("ros2_control", {"effort_controller": "hold", "holding_controller": "hold"}, "must name another controller"),
        ("arm", {"record": "true", "record_file": ""}, "/recorder: parameter 'path'.*at least 1 character"),
        ("autopilot", {"bridge": "mavlink", "url": "foo"}, "url 'foo' has no host and port, .*; examples: udpin:"),
        ("autopilot", {"hover_thrust": "7"}, "parameter .hover_thrust.*given: 7"),
    ],
)
def test_a_value_that_a_node_refuses_starts_nothing(name: str, arguments: dict[str, str], why: str) -> None:
    with pytest.raises(LaunchError, match=why):
        Launch(name, arguments)


def test_a_broken_model_is_refused_before_the_gate_runs(tmp_path: Path) -> None:
    """The gate reads robot.yaml alone; only the nodes after it read robot.xml."""
    planar2 = Path(__file__).parents[2] / "models" / "planar2"
    (tmp_path / "robot.yaml").write_bytes((planar2 / "robot.yaml").read_bytes())
    (tmp_path / "robot.xml").write_text("<mujoco><worldbody/></mujoco>")
    with pytest.raises(MetaRLError, match="/mpc: .*joint"):
        Launch("arm", {"robot": str(tmp_path)})


def test_parameter_files_count_as_for_the_nodes(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(
        "/**: {ros__parameters: {a: 1, b: 1, deep: {c: 1}}}\n/**/gate: {ros__parameters: {b: 2}}\n"
        "left: {gate: {ros__parameters: {d: 3}}, mpc: {ros__parameters: {a: 9}}}\n/*: {ros__parameters: {e: 9}}\n"
    )
    spec = NodeSpec("metarl_robot", "gate", "gate", "/left", "", (file,), {"a": 7}, (), {})
    assert node_name(spec) == "/left/gate"
    assert start_values(spec, "gate") == {"a": 7, "b": 2, "deep.c": 1, "d": 3}


def test_a_wrong_value_in_a_parameter_file_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("/**: {ros__parameters: {autostart: true}}\n/mpc: {ros__parameters: {report_hz: -5.0}}\n")
    with pytest.raises(LaunchError, match="/mpc: parameter 'report_hz'.*given: -5.0"):
        Launch("arm", {"params": str(file)})


@pytest.mark.parametrize("executable", [name for name in EXECUTABLES if name not in WITHOUT_VALUES])
def test_every_node_declares_the_same_before_its_start_and_at_it(executable: str) -> None:
    declared: Callable = import_module(module_of(executable)).declared
    kind = {"px4": "x500", "mavlink": "x500", "betaflight": "x500", "crazy": "crazyflie", "drive": "f1tenth"}
    robot = next((name for key, name in kind.items() if executable.startswith(key)), "planar2")
    given = {"robot": robot, "effort_includes_gravity": executable != "payload_sharer"}
    before = declared(StartValues(lambda node: given, executable))
    if executable == "mpc_with_gate":  # two nodes, each of which is tested here
        return
    context = rclpy.Context()
    context.init()
    node = Node("bare", context=context, parameter_overrides=[Parameter(key, value=given[key]) for key in given])
    try:
        at_start = declared(Parameters(node))
    finally:
        node.destroy_node()
        context.try_shutdown()
    models = [[value for value in each if isinstance(value, BaseModel)] for each in (before, at_start)]
    assert models[0] and models[0] == models[1]
