# SPDX-License-Identifier: Apache-2.0
"""Demos: conditions over time, and the launch arguments for them, for each kind of robot.

The arm follows its nominal model, with realistic delays and sensor noise, and picks up a payload. The quadrotor does
the same on a figure eight; later, wind rises. Sensors, delays and payload come from suite `heldout` for the seed (a
quadrotor carries two thirds of that mass); the user may set the payload instead. All other properties are nominal, so
payload and wind are the only unknowns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.payload import Payload
from metarl_robot.trajectories.flat_outputs import course_of

Array = NDArray[np.float64]

SUITE = "heldout"
_BOX_SIDE_M = 0.08
_SENSORS = ("delay", "noise", "resolution")  # fields of a task that contain one of these words
_WIND_S, _WIND_DIRECTION, _WIND_SHARE = 10.0, np.array([0.8, 0.6, 0.0]), 0.5
_FLYING_SHARE = 2.0 / 3.0  # of heldout's payload; the full mass leaves too little thrust for a fast flight
_LEAST_PACE = 0.3
# _MOST_USE: highest share of the thrust. _CALMER: factor on speed and wind until that share is met.
_MOST_USE, _CALMER = 0.9, 0.95


@dataclass(frozen=True)
class Change:
    """Conditions `task` from time_s on. what: the change in words, without a full stop."""

    time_s: float
    task: Any
    what: str


@dataclass(frozen=True)
class DemoTask:
    """Conditions over time, and how to launch the nodes for them.

    launch: launch file. arguments: launch arguments of this demo. duration_s: minimum, default and maximum. pace: speed
    factor of the motion.
    """

    before: Any
    changes: tuple[Change, ...]
    seed: int
    launch: str
    arguments: Mapping[str, str]
    duration_s: tuple[float, float, float]
    pace: float = 1.0

    @property
    def change_s(self) -> float:
        """Time of the pickup [s]."""
        return self.changes[0].time_s

    @property
    def payload(self) -> Payload:
        """Payload that is picked up."""
        carried: Payload = self.changes[0].task.payload
        return carried

    def write(self, folder: Path) -> Path:
        """Write the conditions, and a parameter file for the nodes.

        With this file the plant reads the conditions, and the gate waits for a command to begin.

        Returns:
            The parameter file.
        """
        conditions, parameters = folder / "conditions.json", folder / "nodes.params.yaml"
        changes = [{"time_s": change.time_s, "task": change.task.to_dict()} for change in self.changes]
        folder.mkdir(parents=True, exist_ok=True)
        conditions.write_text(
            json.dumps({"initial": self.before.to_dict(), "changes": changes}, indent=2) + "\n", encoding="utf-8"
        )
        nodes = {
            "plant": {"task.task_file": str(conditions.resolve())},
            "gate": {"arm_at_start": False},
            "reference": {"pace": self.pace},
        }
        content = {node: {"ros__parameters": values} for node, values in nodes.items()}
        parameters.write_text(yaml.safe_dump(content), encoding="utf-8")
        return parameters


def demo_task(
    robot: Robot, seed: int, mass_kg: float | None = None, offset_m: tuple[float, ...] | None = None
) -> DemoTask:
    """Make the demo for a robot's kind.

    Arguments:
        robot: the robot.
        seed: seed of all random draws.
        mass_kg, offset_m: payload mass and its centre of mass in the payload frame (3,); default: drawn.

    Raises:
        UnknownNameError: this kind of robot has no demo.
        MetaRLError: the motors cannot carry the payload along the motion.
    """
    if robot.kind not in _DEMOS:
        raise UnknownNameError("demo of the kind of robot", robot.kind, _DEMOS)
    return _DEMOS[robot.kind](robot, seed, mass_kg, offset_m)


def _arm(robot: Robot, seed: int, mass_kg: float | None, offset_m: tuple[float, ...] | None) -> DemoTask:
    kind, simulated = "pickup", simulation(robot)
    drawn = simulated.scenario(SUITE, kind, seed)
    before = _with_sensors(simulated.nominal_task(), drawn.initial)
    change_s, loaded = drawn.changes[0]
    after = replace(before, payload=_payload(loaded.payload, mass_kg, offset_m))
    _check_use(robot, after, drawn.reference, change_s, drawn.duration_s)
    arguments = {"reference": "suite", "suite": SUITE, "scenario": kind, "seed": str(seed)}
    return DemoTask(
        before, (Change(change_s, after, "the arm picks something up"),), seed, "arm", arguments, (6.5, 10.0, 11.0)
    )


def _quadrotor(robot: Robot, seed: int, mass_kg: float | None, offset_m: tuple[float, ...] | None) -> DemoTask:
    from metarl_robot.sim.quadrotor.ranges import reference_wind

    simulated, motion, most_s = simulation(robot), "figure_eight", 15.0
    drawn = simulated.scenario(SUITE, "payload", seed)
    before = _with_sensors(simulated.nominal_task(), drawn.initial)
    change_s, loaded = drawn.changes[0]
    after = replace(before, payload=_payload(_lighter(loaded.payload, _FLYING_SHARE), mass_kg, offset_m))
    course, pace, speed = course_of(robot), 1.0, _WIND_SHARE * reference_wind(robot)
    eight = course.motion(motion, np.random.default_rng(seed), most_s)
    while simulated.effort_use(after, course.paced(eight, pace), change_s, _WIND_S) > _MOST_USE and pace > _LEAST_PACE:
        pace *= _CALMER
    _check_use(robot, after, course.paced(eight, pace), change_s, most_s)
    while (
        simulated.effort_use(windy := _in_wind(after, speed), course.paced(eight, pace), _WIND_S, most_s) > _MOST_USE
        and speed > 0.1
    ):
        speed *= _CALMER
    changes = Change(change_s, after, "a payload is hooked on"), Change(_WIND_S, windy, "wind rises")
    return DemoTask(
        before, changes, seed, "quad", {"reference": motion, "seed": str(seed)}, (6.5, most_s, most_s), pace
    )


_DEMOS: dict[str, Callable[[Robot, int, float | None, tuple[float, ...] | None], DemoTask]] = {
    "arm": _arm,
    "quadrotor": _quadrotor,
}


def _in_wind(task: Any, speed_m_s: float) -> Any:
    from metarl_robot.sim.quadrotor.tasks import Wind

    return replace(task, wind=Wind(speed_m_s * _WIND_DIRECTION))


def _with_sensors(task: Any, drawn: Any) -> Any:
    """Copy the delays and sensor noise of `drawn` into the task."""
    fields = [name for name in vars(drawn) if any(part in name for part in _SENSORS)]
    return replace(task, **{name: getattr(drawn, name) for name in fields})


def _lighter(payload: Payload, share: float) -> Payload:
    return Payload(share * payload.mass_kg, payload.com_m, share * payload.inertia_kg_m2)


def _payload(drawn: Payload, mass_kg: float | None, offset_m: tuple[float, ...] | None) -> Payload:
    """The drawn payload, or a cube of the given mass and position."""
    if mass_kg is None and offset_m is None:
        return drawn
    mass = drawn.mass_kg if mass_kg is None else mass_kg
    moment = mass * _BOX_SIDE_M**2 / 6.0
    com = drawn.com_m if offset_m is None else np.array(offset_m)
    return Payload(mass, com, np.array([moment, moment, moment, 0.0, 0.0, 0.0]))


def _check_use(robot: Robot, task: Any, reference: Reference, start_s: float, end_s: float) -> None:
    use = simulation(robot).effort_use(task, reference, start_s, end_s)
    if use > 1.0:
        raise MetaRLError(
            f"a payload of {task.payload.mass_kg:.2f} kg needs {use:.0%} of a motor's effort limit along this motion; "
            "choose a lighter one"
        )
