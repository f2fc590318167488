# SPDX-License-Identifier: Apache-2.0
"""Checks before a launch: ROS 2 is installed, and the launch file is for the robot's kind.

A launch file names its kind of robot with the parameter `robot_kind` of our nodes. The nodes themselves refuse another
kind when `ros2 launch` starts them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from metarl_robot.cli.failure import remedy_for
from metarl_robot.cli.launch_file import PACKAGE, SUFFIX, LaunchError, NodeSpec, evaluate, find_share
from metarl_robot.core.errors import MetaRLError, MissingPackageError, shown
from metarl_robot.core.robot import load_robot


def check_start(path: Path, specs: Iterable[NodeSpec]) -> None:
    """Check that the nodes can run.

    Raises:
        MissingPackageError: our nodes need ROS 2, which is not installed.
        LaunchError: the launch file is for another kind of robot; the message names the right file.
        UnknownNameError, RobotError: no such robot, or its description is invalid.
    """
    ours = [spec for spec in specs if spec.package == PACKAGE]
    if ours and importlib.util.find_spec("rclpy") is None:
        raise MissingPackageError("rclpy", remedy_for("rclpy") or "")
    robots = {(spec.parameters.get("robot"), spec.parameters.get("robot_kind")) for spec in ours}
    for name, kind in sorted(robots, key=str):
        if name is not None and kind:
            _check_robot(path, str(name), str(kind))


def _check_robot(path: Path, name: str, kind: str) -> None:
    robot = load_robot(name, check_model=False)
    if robot.kind != kind:
        said = f"{path.name} is for robots of kind '{kind}'; {shown(name)} is of kind '{robot.kind}'"
        raise LaunchError(f"{said}. Use: metarl launch {_file_for(robot.kind)} robot:={name}")


def _file_for(kind: str) -> str:
    """Name of the shipped launch file for a kind of robot."""
    for path in sorted((find_share(PACKAGE) / "launch").glob(f"*{SUFFIX}")):
        try:
            kinds = {spec.parameters.get("robot_kind") for spec in evaluate(path, {})}
        except MetaRLError:  # the file needs arguments
            continue
        if kind in kinds:
            return path.name.removesuffix(SUFFIX)
    return "FILE"
