# SPDX-License-Identifier: Apache-2.0
"""What a reference is made of, by kind of robot: a few outputs over time, from which the whole motion follows.

An arm's outputs are its joints; a quadrotor's are its position and heading (it is flat). Messages carry outputs with
two derivatives, references are joined and eased in outputs, and limits are checked on the motion. A kind names its
course (`Robot.course`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import UnknownNameError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference, State

Array = NDArray[np.float64]


class Outputs(NamedTuple):
    """At K times: values and two derivatives, (K, m) each; derivatives None where they are not told."""

    positions: Array
    velocities: Array | None
    accelerations: Array | None


class FlatOutputs(Protocol):
    """How references of one robot are made, joined and checked. References that it is given are its own."""

    @property
    def motion_names(self) -> tuple[str, ...]:
        """What `motion` can make."""
        ...

    def __init__(self, robot: Any) -> None: ...

    def motion(self, name: str, rng: np.random.Generator, duration_s: float) -> Reference:
        """A reference from t = 0 for duration_s. Raises UnknownNameError."""
        ...

    def paced(self, reference: Any, pace: float) -> Reference:
        """The same path at `pace` times its speed; time 0 stays."""
        ...

    def hold(self, q: Array) -> Reference:
        """Stay where the robot is: q (nq,)."""
        ...

    def brake(self, state: State, time_s: float) -> Reference:
        """From where the robot is, and as fast as it is, to rest within its abilities;
        one that stands holds its place.
        """
        ...

    def through(self, times: Array, points: Outputs) -> Reference:
        """A reference through outputs at times (K,) [s], absolute; at rest before, and after it has braked.

        Raises SignalError.
        """
        ...

    def outputs(self, reference: Any, times: Array) -> Outputs:
        """Outputs of a reference of this course at times (K,) [s]."""
        ...

    def gaps(self, old: Any, new: Any, time_s: float) -> Array:
        """(D, m) old minus new at a time: outputs and as many derivatives as a fade takes up."""
        ...

    def shortest_s(self, gaps: Array) -> float:
        """The least time in which such gaps may fade."""
        ...

    def eased(self, reference: Any, gaps: Array, start_s: float, duration_s: float) -> Reference:
        """The reference plus gaps that fade from start_s on within duration_s."""
        ...

    def check(
        self, reference: Any, start_s: float, duration_s: float, rate_hz: float = 200.0, where: Any = None
    ) -> None:
        """Refuse what the robot cannot follow. Raises SignalError.

        where: a reference that says at start_s where the robot comes from: a joint that is outside
        its limits there may come back.
        """
        ...


def flat_outputs_of(robot: Robot) -> FlatOutputs:
    """The course of the robot's kind."""
    module, name = robot.course.split(":")
    made: FlatOutputs = getattr(import_module(module), name)(robot)
    return made


def check_motion(course: FlatOutputs, name: str) -> None:
    """Raises UnknownNameError for a motion that the course does not have."""
    if name not in course.motion_names:
        raise UnknownNameError("motion", name, course.motion_names)
