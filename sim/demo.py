# SPDX-License-Identifier: Apache-2.0
"""Demos: conditions over time, and the launch arguments for them. Each kind has its own (sim/<kind>/demo.py).

A robot follows its nominal model, with realistic delays and sensor noise, and gets a payload. Sensors, delays and
payload come from suite `heldout` for the seed; the user may set the payload instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.signals import Reference
from metarl_robot.sim.payload import Payload
from metarl_robot.sim.scenario import Scenario

SUITE = "heldout"
_BOX_SIDE_M = 0.08
_SENSORS = ("delay", "noise", "resolution")  # fields of a task that contain one of these words


class Simulated(Protocol):
    """The part of metarl_robot.sim.kinds.Simulation that a demo uses."""

    @property
    def robot(self) -> Any: ...

    def scenario(self, suite: str, kind: str, seed: int) -> Scenario[Any]: ...

    def nominal_task(self) -> Any: ...

    def effort_use(self, task: Any, reference: Reference, start_s: float, end_s: float) -> float: ...


@dataclass(frozen=True)
class Change:
    """Conditions `task` from time_s on. what: the change in words, without a full stop."""

    time_s: float
    task: Any
    what: str


@dataclass(frozen=True)
class Demo:
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


def with_sensors(task: Any, drawn: Any) -> Any:
    """Copy the delays and sensor noise of `drawn` into the task."""
    fields = [name for name in vars(drawn) if any(part in name for part in _SENSORS)]
    return replace(task, **{name: getattr(drawn, name) for name in fields})


def named_payload(drawn: Payload, mass_kg: float | None, offset_m: tuple[float, ...] | None) -> Payload:
    """The drawn payload, or a cube of the given mass and position."""
    if mass_kg is None and offset_m is None:
        return drawn
    mass = drawn.mass_kg if mass_kg is None else mass_kg
    moment = mass * _BOX_SIDE_M**2 / 6.0
    com = drawn.com_m if offset_m is None else np.array(offset_m)
    return Payload(mass, com, np.array([moment, moment, moment, 0.0, 0.0, 0.0]))


def check_use(task: Any, use: float) -> None:
    """Raises MetaRLError if the payload needs more than an effort limit along the motion; use: share of it."""
    if use > 1.0:
        raise MetaRLError(
            f"a payload of {task.payload.mass_kg:.2f} kg needs {use:.0%} of a motor's effort limit along this motion; "
            "choose a lighter one"
        )
