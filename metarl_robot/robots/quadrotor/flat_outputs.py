# SPDX-License-Identifier: Apache-2.0
"""Flat outputs of a quadrotor: x, y, z [m; world] and heading [rad]; attitude and rates follow (flatness.py).

Points with position, velocity and acceleration are connected by quintic segments, so that two messages about one motion
agree wherever they overlap. Points with less are connected by the path of minimum snap. A gap g of the outputs and
three derivatives fades out along a polynomial of degree 7, with x the elapsed share of its duration T:

    e(x) = (1 - x)^4 (c_0 + c_1 x + c_2 x^2 + c_3 x^3),     c_k = sum_i binomial(k - i + 3, 3) g^(i) T^i / i!
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError
from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.flatness import FlatPoints, FlatTrajectory
from metarl_robot.robots.quadrotor.random_trajectories import random_flight
from metarl_robot.robots.quadrotor.trajectories import Circle, FigureEight, FlatSpline, Hover, Paced, Steps
from metarl_robot.robots.quadrotor.trajectory_limits import check_flight, slowed
from metarl_robot.trajectories.flat_outputs import Outputs, check_motion
from metarl_robot.trajectories.polynomials import Polynomials
from metarl_robot.trajectories.splines import Spline, check_times, from_points

Array = NDArray[np.float64]

HEIGHT_M = 2.0
EASE_S = 0.4
EASE_SPEED = 0.15  # of the speed limit and of the yaw rate limit
THRUST_SHARE = 0.85  # share of the thrust limit for named motions; the rest is left for the controller
_PEAK = 35.0 / 16.0  # peak over mean velocity of a fade from rest to rest
_ORDERS = 4  # outputs and three derivatives
_FADING = np.array([1.0, -4.0, 6.0, -4.0, 1.0])  # (1 - x)^4
_INVERSE = np.array([1.0, 4.0, 10.0, 20.0])  # series of its inverse, to third order
_STEP_EVERY_S, _STEP_M = 3.0, 1.0
STANDING = 0.1  # m/s and rad/s: slower counts as standing
_STILL = 1e-6  # m/s and rad/s
_STOP_S, _STOP_ATTEMPTS, _STOP_GROWTH = 1.0, 6, 1.4


@dataclass(frozen=True, eq=False)
class FlatQuintic(FlatTrajectory):
    """Flat outputs along a spline of degree 5 in x, y, z and heading."""

    spline: Spline

    def derivatives(self, times: Array) -> Array:
        return self.spline.path.derivatives(times, 4)


@dataclass(frozen=True, eq=False)
class EasedFlight(FlatTrajectory):
    """A flight plus a fade of its outputs; after the fade, exactly the flight."""

    motion: FlatTrajectory
    fade: Polynomials

    def derivatives(self, times: Array) -> Array:
        motion, over = self.motion.derivatives(times), times >= self.fade.knots[-1]
        if over.all():
            return motion
        fade = self.fade.derivatives(times, 4)
        fade[:, over] = 0.0
        return motion + fade


@dataclass(frozen=True, eq=False)
class BrakedFlight(FlatTrajectory):
    """A flight that still moves at its end, followed by a stop; the stop is computed when first sampled."""

    motion: FlatTrajectory
    end_s: float
    kind: FlightFlatOutputs

    def derivatives(self, times: Array) -> Array:
        late = times > self.end_s
        if not late.any():
            return self.motion.derivatives(times)
        return np.where(late[:, None], self._stop.derivatives(times), self.motion.derivatives(times))

    @cached_property
    def _stop(self) -> FlatTrajectory:
        return self.kind.stop(self.motion, self.end_s)


class FlightFlatOutputs:
    """Flat outputs of a quadrotor; see FlatOutputs."""

    motion_names = ("hold", "figure_eight", "circle", "steps", "random")
    motion_files: tuple[str, ...] = ()

    def __init__(self, robot: Quadrotor) -> None:
        self._robot = robot

    def motion(self, name: str, rng: np.random.Generator, duration_s: float) -> FlatTrajectory:
        check_motion(self, name)
        centre = np.array([0.0, 0.0, HEIGHT_M])
        if name == "hold":
            return Hover(self._robot.home[:3])
        if name == "random":
            return random_flight(self._robot, rng, duration_s)
        if name == "steps":
            count = max(2, int(duration_s / _STEP_EVERY_S))
            times = np.arange(0.0, count) * _STEP_EVERY_S
            made: FlatTrajectory = Steps(times, centre + rng.uniform(-_STEP_M, _STEP_M, (count, 3)))
        elif name == "circle":
            made = Circle(centre, 1.5, 2.0)
        else:
            made = FigureEight(centre)
        return slowed(self._robot, made, duration_s, THRUST_SHARE)

    def paced(self, reference: FlatTrajectory, pace: float) -> FlatTrajectory:
        return reference if pace == 1.0 else Paced(reference, pace)

    def hold(self, q: Array) -> FlatTrajectory:
        return Hover(np.array(q[:3], dtype=float), float(rotation.yaw(q[3:])))

    def brake(self, state: State, time_s: float) -> FlatTrajectory:
        velocity = np.append(state.v[:3], state.v[5])
        if np.all(np.abs(velocity) <= STANDING):
            return self.hold(state.q)
        place = np.append(state.q[:3], rotation.yaw(state.q[3:]))
        return self._to_rest(np.stack([place, velocity, np.zeros(4), np.zeros(4)]), time_s)

    def through(self, times: Array, points: Outputs) -> FlatTrajectory:
        y = np.array(points.positions, dtype=float)
        y[:, 3] = np.unwrap(y[:, 3])
        if points.velocities is not None and points.accelerations is not None:
            return self._braked(FlatQuintic(from_points(times, y, points.velocities, points.accelerations)), times)
        v = points.velocities
        velocity, yaw_rate = (None, None) if v is None else (v[:, :3], v[:, 3])
        if len(times) == 1:
            return Hover(y[0, :3], float(y[0, 3]))
        check_times(np.asarray(times, float))
        return self._braked(FlatSpline(np.asarray(times, float), y[:, :3], y[:, 3], velocity, None, yaw_rate), times)

    def _braked(self, flight: FlatTrajectory, times: Array) -> FlatTrajectory:
        moving = np.any(np.abs(flight.derivatives(np.asarray(times[-1:], float))[1, 0]) > _STILL)
        return BrakedFlight(flight, float(times[-1]), self) if moving and len(times) > 1 else flight

    def stop(self, flight: FlatTrajectory, end_s: float) -> FlatTrajectory:
        """Stop from the flight's motion at end_s."""
        return self._to_rest(_derivatives(flight.flat(np.array([end_s])))[:, 0], end_s)

    def _to_rest(self, motion: Array, start_s: float) -> FlatTrajectory:
        """Stop from outputs and three derivatives (4, 4).

        Returns the shortest of a few stops that the nominal robot can fly.
        """
        for attempt in range(_STOP_ATTEMPTS):
            stop_s = _STOP_S * _STOP_GROWTH**attempt
            rest = motion[0] + 0.5 * stop_s * motion[1]
            gaps = np.concatenate([(motion[0] - rest)[None], motion[1:]])
            found = self.eased(Hover(rest[:3], float(rest[3])), gaps, start_s, stop_s)
            with suppress(SignalError):
                check_flight(self._robot, found, start_s, stop_s, THRUST_SHARE)
                break
        return found

    def outputs(self, reference: FlatTrajectory, times: Array) -> Outputs:
        return Outputs(*_derivatives(reference.flat(times))[:3])

    def gaps(self, old: FlatTrajectory, new: FlatTrajectory, time_s: float) -> Array:
        when = np.array([time_s])
        gaps = (_derivatives(old.flat(when)) - _derivatives(new.flat(when)))[:, 0]
        gaps[0, 3] = math.remainder(gaps[0, 3], 2.0 * math.pi)
        return gaps

    def shortest_s(self, gaps: Array) -> float:
        limit = self._robot.velocity_limit
        seconds = _PEAK * np.array([np.linalg.norm(gaps[0, :3]) / limit[0], abs(gaps[0, 3]) / limit[5]]) / EASE_SPEED
        return max(EASE_S, float(seconds.max()))

    def eased(self, reference: FlatTrajectory, gaps: Array, start_s: float, duration_s: float) -> FlatTrajectory:
        taylor = [gap * duration_s**i / math.factorial(i) for i, gap in enumerate(gaps)]
        inner = [sum(_INVERSE[k - i] * taylor[i] for i in range(k + 1)) for k in range(_ORDERS)]
        coefficients = np.stack([np.convolve(_FADING, column) for column in np.stack(inner).T], axis=1)
        return EasedFlight(reference, Polynomials(np.array([start_s, start_s + duration_s]), coefficients[None]))

    def check(
        self,
        reference: FlatTrajectory,
        start_s: float,
        duration_s: float,
        rate_hz: float = 200.0,
        where: FlatTrajectory | None = None,
    ) -> None:
        check_flight(self._robot, reference, start_s, duration_s, rate_hz=rate_hz)


def _derivatives(flat: FlatPoints) -> Array:
    """Return (4, N, 4) outputs and three derivatives; the heading's third derivative is unknown and set to zero."""
    place = np.stack([flat.position, flat.velocity, flat.acceleration, flat.jerk])
    heading = np.stack([flat.yaw, flat.yaw_rate, flat.yaw_acceleration, np.zeros_like(flat.yaw)])
    return np.concatenate([place, heading[..., None]], axis=2)
