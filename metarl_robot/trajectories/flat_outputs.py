# SPDX-License-Identifier: Apache-2.0
"""Flat outputs of a kind of robot: few functions of time that determine the whole motion.

An arm's flat outputs are its joints; a quadrotor's are its position and heading. Messages carry outputs with two
derivatives. References are joined and eased in outputs. Limits are checked on the motion. Each kind names its class
(`Robot.flat_outputs`).
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
    """Outputs at K times: values and two derivatives, (K, m) each; an unknown derivative is None."""

    positions: Array
    velocities: Array | None
    accelerations: Array | None


class FlatOutputs(Protocol):
    """Creation, joining and checks of one robot's references.

    Methods that take a reference expect one made by the same class.
    """

    @property
    def motion_names(self) -> tuple[str, ...]:
        """Names of the motions that `motion` can make."""
        ...

    @property
    def motion_files(self) -> tuple[str, ...]:
        """Endings of the files that `motion` reads, as '.csv'."""
        ...

    def __init__(self, robot: Any) -> None: ...

    def motion(self, name: str, rng: np.random.Generator, duration_s: float) -> Reference:
        """Make a reference from t = 0 for duration_s, or read it from the file `name`.

        It may have an attribute `remark`: text for the user on how it differs from the file.

        Raises:
            UnknownNameError, SignalError: no such motion, or the file is wrong.
        """
        ...

    def paced(self, reference: Any, pace: float) -> Reference:
        """The same path at `pace` times its speed; time 0 is unchanged."""
        ...

    def hold(self, q: Array) -> Reference:
        """Hold the position q (nq,)."""
        ...

    def brake(self, state: State, time_s: float) -> Reference:
        """Brake from the robot's present state to rest, within its limits.

        A robot at rest holds its position.
        """
        ...

    def through(self, times: Array, points: Outputs) -> Reference:
        """A reference through outputs at absolute times (K,) [s].

        It is at rest before the first time and brakes after the last. Raises SignalError.
        """
        ...

    def outputs(self, reference: Any, times: Array) -> Outputs:
        """Outputs of a reference at times (K,) [s]."""
        ...

    def gaps(self, old: Any, new: Any, time_s: float) -> Array:
        """Differences (D, m), old minus new, at a time: outputs and as many derivatives as a fade covers."""
        ...

    def shortest_s(self, gaps: Array) -> float:
        """The shortest time in which these gaps may fade."""
        ...

    def eased(self, reference: Any, gaps: Array, start_s: float, duration_s: float) -> Reference:
        """The reference plus gaps that fade out from start_s within duration_s."""
        ...

    def check(
        self, reference: Any, start_s: float, duration_s: float, rate_hz: float = 200.0, where: Any = None
    ) -> None:
        """Check that the robot can follow the reference. Raises SignalError.

        where: a reference that gives the robot's position at start_s; a joint outside its limits there may come back.
        """
        ...


def flat_outputs_of(robot: Robot) -> FlatOutputs:
    """Flat outputs of the robot's kind."""
    module, name = robot.flat_outputs.split(":")
    made: FlatOutputs = getattr(import_module(module), name)(robot)
    return made


def check_motion(flat: FlatOutputs, name: str, what: str = "motion", others: tuple[str, ...] = ()) -> None:
    """Raise UnknownNameError for a name that is neither a motion nor that of a file of motion.

    what: the name's meaning. others: further valid names.
    """
    if name not in flat.motion_names and not name.endswith(flat.motion_files):
        files = (f"FILE{ending}" for ending in flat.motion_files)
        raise UnknownNameError(what, name, (*flat.motion_names, *files, *others))
