# SPDX-License-Identifier: Apache-2.0
"""Messages as they come from the graph: valid ones with altered fields, and every reader of the nodes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import OccupancyGrid, Path
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial
from metarl_robot.core.tables import Table, table_of
from metarl_robot.ros_nodes.convert import table_message
from metarl_robot.ros_nodes.interface import Interface, interface_of
from metarl_robot.ros_nodes.odometry import imu_message, odometry_message
from metarl_robot.trajectories.flat_outputs import Outputs
from tests.fuzz.mutations import NUMBERS, word

_FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e308, 1e-320, 2.0)
_COUNTS = (0, 1, 2, 2**31 - 1)


class _Ears:
    """Takes the place of a node's subscriptions and keeps their callbacks."""

    def __init__(self) -> None:
        self.takers: list[Callable[[Any], None]] = []

    def create_subscription(self, kind: Any, topic: str, take: Callable[[Any], None], quality: Any) -> None:
        self.takers.append(take)


@cache
def _interface(name: str) -> Interface:
    return interface_of(load_robot(name, check_model=False))


def case(random: Random) -> Callable[[], object]:
    """An altered message, and its reader."""
    name = random.choice(("planar2", "panda", "x500", "f1tenth"))
    interface = _interface(name)
    message, read = random.choice(_readers(name, interface))
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        alter(random, message)
    return lambda: read(message)


def _readers(name: str, interface: Interface) -> list[tuple[Any, Callable[[Any], object]]]:
    robot = load_robot(name, check_model=False)
    q, v, effort = robot.home, np.zeros(robot.dof), np.ones(robot.nu)
    outputs = 4 if robot.attitude is not None else robot.nq
    points = Outputs(np.zeros((5, outputs)), np.zeros((5, outputs)), np.zeros((5, outputs)))
    _, _, read_reference = interface.references()[0]
    readers: list[tuple[Any, Callable[[Any], object]]] = [
        (interface.gate_command(1_000_000_000, effort), lambda message: interface.read_gate_command(message)[1]()),
        (interface.setpoint(1_000_000_000, q, v), interface.read_setpoint),
        (interface.reference(1_000_000_000, 0.1 * np.arange(5), points), read_reference),
        (table_message(Table(1, ("a", "b"), ("x", "y"), np.zeros((2, 2)))), table_of),
    ]
    readers += [(_path(), read) for kind, _, read in interface.references() if kind is Path]
    readers += [(_OBSTACLES[topic.type](), topic.read) for topic in interface.obstacles]
    takers = _listening(interface)
    if robot.attitude is not None:
        readers.append((odometry_message("odom", "base_link", 1, q, v), takers[0]))
        readers.append((imu_message("base_link", 1, Inertial(np.ones(3), np.zeros(3))), takers[1]))
    else:
        readers.append((interface.setpoint(1_000_000_000, q, v), takers[0]))
    return readers


def _path() -> Path:
    message = Path()
    message.header.frame_id = "odom"
    for k in range(5):
        pose = PoseStamped()
        pose.header.stamp.sec, pose.pose.position.x, pose.pose.orientation.w = k, float(k), 1.0
        message.poses.append(pose)
    return message


def _grid() -> OccupancyGrid:
    message = OccupancyGrid()
    message.header.frame_id = "odom"
    message.info.resolution, message.info.width, message.info.height = 0.1, 5, 4
    message.data = [0, 100] * 10
    return message


_OBSTACLES = {
    Float64MultiArray: lambda: table_message(Table(1, ("a", "b"), ("x_m", "y_m", "radius_m"), np.ones((2, 3)))),
    OccupancyGrid: _grid,
}
"""A message of each type of obstacles."""


def _listening(interface: Interface) -> list[Callable[[Any], None]]:
    """Callbacks of the nodes' subscriptions."""
    ears: Any = _Ears()
    interface.listen(ears, lambda stamp_ns, read: read(), False, lambda stamp_ns, read: read())
    return list(ears.takers)


def alter(random: Random, message: Any) -> None:
    """One field, at any depth, is another that its type can hold."""
    fields = message.get_fields_and_field_types()
    name = random.choice(list(fields))
    value, kind = getattr(message, name), fields[name]
    if hasattr(value, "get_fields_and_field_types"):
        alter(random, value)
    elif isinstance(value, str):
        setattr(
            message,
            name,
            random.choice((word(random), value + word(random), value[1:], _stamped(random, value))).replace("\0", ""),
        )
    elif kind.startswith("sequence"):
        setattr(message, name, _sequence(random, list(value), kind))
    elif isinstance(value, bool):
        setattr(message, name, not value)
    elif isinstance(value, float):
        setattr(message, name, random.choice(_FLOATS))
    elif isinstance(value, int):
        setattr(
            message, name, random.choice((*_COUNTS, -1, -(2**31)) if kind == "int32" else _COUNTS[:3] + (2**32 - 1,))
        )


def _stamped(random: Random, label: str) -> str:
    return (
        f"{random.choice(NUMBERS)}.{random.choice(('000000000', '²' * 9, random.choice(NUMBERS)))} "
        f"{label.partition(' ')[2]}"
    )


def _sequence(random: Random, values: list[Any], kind: str) -> list[Any]:
    action = random.randrange(5)
    if action == 0:
        return []
    if action == 1:
        return values[:-1]
    if action == 2:
        return values * random.choice((2, 50))
    if values and hasattr(values[0], "get_fields_and_field_types"):
        alter(random, random.choice(values))
        return values
    if "/" in kind:  # of messages, and empty
        return values
    return [*values[1:], _filler(random, kind)]


def _filler(random: Random, kind: str) -> Any:
    if "string" in kind:
        return word(random).replace("\0", "")
    return random.choice((-128, 0, 127)) if "int8" in kind else random.choice(_FLOATS)
