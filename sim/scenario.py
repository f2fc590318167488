# SPDX-License-Identifier: Apache-2.0
"""Parts common to every kind's simulation: tasks as plain data, and a closed-loop run as tasks over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Reference, State

Array = NDArray[np.float64]


def no_obstacles() -> Array:
    """(0, 3)."""
    return np.zeros((0, 3))


class Task(Protocol):
    """One draw of physical conditions: plain data, frozen."""

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists, booleans and nested dictionaries, ready for JSON."""
        ...


T = TypeVar("T", bound=Task, covariant=True)


@dataclass(frozen=True)
class Scenario(Generic[T]):
    """One closed-loop run: tasks over time, the reference, and the seeds.

    initial: task at t = 0. changes: (time [s], task from then on). seed: seed of the draw; noise_seed: seed of the
    sensors. scored_from_s: time from which errors count, once the robot has settled. estimates_after_s: times since
    the change at which estimates are scored. start: state at t = 0; None: that of the reference.
    released_s: time at which a disturbance that no controller can overcome (contact, overload) has ended. Errors
    'after' count from 1 s later on. None: there is none. obstacles: (K, 3) discs on the ground, x, y and radius
    [m; world], which the controller gets at the start.
    """

    name: str
    initial: T
    changes: tuple[tuple[float, T], ...]
    reference: Reference
    duration_s: float
    seed: int
    noise_seed: int
    scored_from_s: float = 1.0
    estimates_after_s: tuple[float, ...] = (1.0, 4.0)
    start: State | None = None
    released_s: float | None = None
    obstacles: Array = field(default_factory=no_obstacles)

    def task_at(self, time_s: float) -> T:
        """The task in force at a time."""
        return [self.initial, *(task for change_s, task in self.changes if change_s <= time_s)][-1]
