# SPDX-License-Identifier: Apache-2.0
"""Checks before a launch: ROS 2 is installed, the launch file is for the robot's kind, and the nodes take their values.

A launch file names its kind of robot with the parameter `robot_kind` of our nodes. The nodes themselves refuse another
kind, and wrong values, when `ros2 launch` starts them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from metarl_robot.cli.failure import remedy_for
from metarl_robot.cli.launch_file import (
    PACKAGE,
    SUFFIX,
    LaunchError,
    NodeSpec,
    declared_arguments,
    evaluate,
    find_share,
)
from metarl_robot.cli.launch_values import check_values
from metarl_robot.core.errors import MetaRLError, MissingPackageError, UnknownNameError, shown
from metarl_robot.core.robot import Robot, load_robot


def check_start(path: Path, specs: Iterable[NodeSpec]) -> None:
    """Check that the nodes can run.

    Raises:
        MissingPackageError: our nodes need ROS 2, which is not installed.
        LaunchError: the launch file is for another kind of robot; the message names the right file.
        UnknownNameError, RobotError: no such robot or controller, or the robot's description is invalid.
        LaunchError: a node would refuse a value; the message names the node, the parameter and the allowed values.
    """
    ours = [spec for spec in specs if spec.package == PACKAGE]
    if ours and importlib.util.find_spec("rclpy") is None:
        raise MissingPackageError("rclpy", remedy_for("rclpy") or "")
    for name, kind, controller in sorted({_named(spec) for spec in ours}, key=str):
        if name is not None and kind:
            robot = _check_robot(path, str(name), str(kind))
            if controller is not None:
                check_controller(robot.kind, str(controller))
    for spec in ours:
        check_values(spec)


def _named(spec: NodeSpec) -> tuple[object, ...]:
    """Robot, kind and controller that a node is started with; None where its parameters do not say."""
    return tuple(spec.parameters.get(name) for name in ("robot", "robot_kind", "controller"))


def check_controller(kind: str, name: str) -> None:
    """Refuse a controller that the nodes do not offer for a kind of robot. Raises UnknownNameError."""
    from metarl_robot.control.factory import node_controller_names

    offered = node_controller_names(kind)
    if name not in offered:
        raise UnknownNameError("controller", name, offered)


def _check_robot(path: Path, name: str, kind: str) -> Robot:
    robot = load_robot(name, check_model=False)
    if robot.kind != kind:
        said = f"{path.name} is for robots of kind '{kind}'; {shown(name)} is of kind '{robot.kind}'"
        raise LaunchError(f"{said}. Use: metarl launch {launch_file_for(robot.kind)} robot:={name}")
    return robot


def offered_controllers(path: Path) -> tuple[str, ...]:
    """The controllers of the kind of robot that a launch file is for; none where it does not say."""
    from metarl_robot.control.factory import node_controller_names

    kinds = _kinds_of(path)
    return node_controller_names(kinds.pop()) if len(kinds) == 1 else ()


def launch_file_for(kind: str) -> str:
    """Name of the shipped launch file that simulates a kind of robot."""
    for path in sorted((find_share(PACKAGE) / "launch").glob(f"*{SUFFIX}")):
        if kind in _kinds_of(path, "plant"):
            return path.name.removesuffix(SUFFIX)
    return "FILE"


def _kinds_of(path: Path, executable: str = "") -> set[str]:
    """The kinds that the nodes of a launch file name; none where they depend on an argument without a default.

    executable: count its nodes only; empty: all.
    """
    try:
        needed = {argument.name: "" for argument in declared_arguments(path) if argument.default is None}
        nodes = (spec for spec in evaluate(path, needed) if executable in ("", spec.executable))
        kinds = {spec.parameters.get("robot_kind") for spec in nodes}
    except MetaRLError:
        return set()
    return {str(kind) for kind in kinds if kind}
