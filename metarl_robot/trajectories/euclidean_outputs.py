# SPDX-License-Identifier: Apache-2.0
"""Flat outputs of a robot with a Euclidean configuration space: its coordinates q, such as an arm's joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference, Setpoints, State
from metarl_robot.trajectories.euclidean import braked, check_reference, random_excitation, random_tracking, stop
from metarl_robot.trajectories.flat_outputs import Outputs, check_motion
from metarl_robot.trajectories.splines import Hold, Spline, from_points

Array = NDArray[np.float64]

EASE_S = 0.2
EASE_SPEED = 0.3  # of a joint's velocity limit
STANDING_RAD_S = 0.05
_PEAK = 15.0 / 8.0  # peak velocity of a quintic from rest to rest, over its mean


@dataclass(frozen=True, eq=False)
class Eased:
    """A motion plus a fade; after the end of the fade exactly the motion."""

    motion: Reference
    fade: Spline

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        points, over = self.motion.sample(times), times >= self.fade.knots[-1]
        if over.all():
            return points
        fade = self.fade.path.derivatives(times, 2)
        fade[:, over] = 0.0
        return Setpoints(points.q + fade[0], points.v + fade[1], points.a + fade[2])


@dataclass(frozen=True, eq=False)
class Paced:
    """A motion at `pace` times its speed."""

    motion: Reference
    pace: float

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        points = self.motion.sample(times * self.pace)
        return Setpoints(points.q, points.v * self.pace, points.a * self.pace**2)


class EuclideanOutputs:
    """Flat outputs that are the position q itself.

    A gap in position, velocity and acceleration fades out along a quintic.
    """

    motion_names: tuple[str, ...] = ("hold", "tracking", "excitation")
    motion_files: tuple[str, ...] = ()

    def __init__(self, robot: Robot) -> None:
        self._robot = robot

    def motion(self, name: str, rng: np.random.Generator, duration_s: float) -> Reference:
        check_motion(self, name)
        if name == "hold":
            return Hold(self._robot.home)
        return (random_tracking if name == "tracking" else random_excitation)(self._robot, rng, duration_s)

    def paced(self, reference: Reference, pace: float) -> Reference:
        return reference if pace == 1.0 else Paced(reference, pace)

    def hold(self, q: Array) -> Reference:
        return Hold(np.array(q, dtype=float))

    def brake(self, state: State, time_s: float) -> Reference:
        moving = np.where(np.abs(state.v) > STANDING_RAD_S, state.v, 0.0)
        return stop(self._robot, State(state.q, moving), time_s) if moving.any() else self.hold(state.q)

    def through(self, times: Array, points: Outputs) -> Reference:
        return braked(from_points(times, *points), self._robot)

    def outputs(self, reference: Reference, times: Array) -> Outputs:
        points = reference.sample(times)
        return Outputs(points.q, points.v, points.a)

    def gaps(self, old: Reference, new: Reference, time_s: float) -> Array:
        a, b = old.sample(np.array([time_s])), new.sample(np.array([time_s]))
        return np.concatenate([a.q - b.q, a.v - b.v, a.a - b.a])

    def shortest_s(self, gaps: Array) -> float:
        return max(EASE_S, float(np.max(_PEAK * np.abs(gaps[0]) / (EASE_SPEED * self._robot.velocity_limit))))

    def eased(self, reference: Reference, gaps: Array, start_s: float, duration_s: float) -> Reference:
        ends = (np.stack([gap, np.zeros_like(gap)]) for gap in gaps)
        return Eased(reference, from_points([start_s, start_s + duration_s], *ends))

    def check(
        self,
        reference: Reference,
        start_s: float,
        duration_s: float,
        rate_hz: float = 200.0,
        where: Reference | None = None,
    ) -> None:
        at = None if where is None else where.sample(np.array([start_s])).q[0]
        check_reference(self._robot, reference, start_s, duration_s, rate_hz, at)
