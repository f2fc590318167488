# SPDX-License-Identifier: Apache-2.0
"""Demos: conditions over time, and the launch arguments for them. Each kind has its own (sim/<kind>/demo.py).

A robot follows its nominal model, with realistic delays and sensor noise, until its conditions change. Sensors, delays
and changes come from suite `heldout` for the seed; the user may set those for which the kind has settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Reference
from metarl_robot.sim.scenario import Scenario, no_obstacles

Array = NDArray[np.float64]

SUITE = "heldout"
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


class Carried(NamedTuple):
    """A body that the robot carries from the first change on, for a picture.

    site: MJCF site that carries it. centre_m: (3,) its centre in the site's frame. label: '2.5 kg picked up'.
    """

    site: str
    centre_m: Array
    label: str


@dataclass(frozen=True)
class Demo:
    """Conditions over time, and how to launch the nodes for them.

    launch: launch file. arguments: launch arguments of this demo. duration_s: minimum, default and maximum. pace: speed
    factor of the motion. carried: a body that it picks up; None: it picks up none.
    obstacles: (K, 3) see Scenario.
    """

    before: Any
    changes: tuple[Change, ...]
    seed: int
    launch: str
    arguments: Mapping[str, str]
    duration_s: tuple[float, float, float]
    pace: float = 1.0
    carried: Carried | None = None
    obstacles: Array = field(default_factory=no_obstacles)

    @property
    def change_s(self) -> float:
        """Time of the first change [s]."""
        return self.changes[0].time_s


def with_sensors(task: Any, drawn: Any) -> Any:
    """Copy the delays and sensor noise of `drawn` into the task."""
    fields = [name for name in vars(drawn) if any(part in name for part in _SENSORS)]
    return replace(task, **{name: getattr(drawn, name) for name in fields})
