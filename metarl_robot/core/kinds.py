# SPDX-License-Identifier: Apache-2.0
"""The registry of kinds of robot: the only place where they are listed.

A kind is a subclass of metarl_robot.core.robot.Robot, named by an entry point of the group `metarl_robot.kinds`. A
package adds one in its pyproject.toml:

    [project.entry-points."metarl_robot.kinds"]
    rover = "my_package.rover.description:Rover"

Our own are in BUILT_IN too, so that a checkout works without being installed; no other package can replace them.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from metarl_robot.core.errors import RobotError, UnknownNameError, one_line, shown

GROUP = "metarl_robot.kinds"
BUILT_IN = {
    "arm": "metarl_robot.robots.arm.description:Arm",
    "quadrotor": "metarl_robot.robots.quadrotor.description:Quadrotor",
    "ground": "metarl_robot.robots.ground.description:Ground",
}
_STATED = (
    "file",
    "kind",
    "interface",
    "flat_outputs",
    "fallback_law",
    "simulation",
    "dynamics",
    "filter_tuning",
    "controllers",
)
"""Class attributes that every kind states."""


def kind_names() -> tuple[str, ...]:
    """All kinds of robot that a robot.yaml may name: ours, then those of other packages."""
    return (*BUILT_IN, *sorted(set(_other_packages()) - set(BUILT_IN)))


def load_kind(name: Any) -> Any:
    """The class of a kind of robot.

    Raises:
        UnknownNameError: no such kind; the message lists the valid ones.
        RobotError: its entry point cannot be loaded, or does not name a kind of that name.
    """
    point = _point(name)
    try:
        found = point.load()
    except Exception as error:  # anything that another package's module raises
        raise RobotError(f"{_place(point)} cannot be loaded: {type(error).__name__}: {one_line(error)}") from error
    missing = [attribute for attribute in _STATED if not hasattr(found, attribute)]
    if missing:
        raise RobotError(
            f"{_place(point)}: a kind is a subclass of Robot that states {', '.join(_STATED)}; "
            f"missing: {', '.join(missing)}"
        )
    if found.kind != point.name:
        raise RobotError(f"{_place(point)}: its class is of kind {shown(found.kind)}; must be the entry point's name")
    return found


def _point(name: Any) -> EntryPoint:
    if isinstance(name, str) and name in BUILT_IN:
        return EntryPoint(name, BUILT_IN[name], GROUP)
    others = _other_packages()
    if not isinstance(name, str) or name not in others:
        given = name if isinstance(name, str) else shown(name)
        raise UnknownNameError("kind of robot", given, kind_names(), f"entry points of {GROUP}")
    return others[name]


def _other_packages() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _place(point: EntryPoint) -> str:
    return f"kind of robot '{point.name}' (entry point {point.value} of {GROUP})"
