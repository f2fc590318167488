# SPDX-License-Identifier: Apache-2.0
"""Flat trajectories of quadrotors, from rest to rest.

All are flat trajectories (flatness.py) with a continuous jerk, so attitude and body rates are continuous. Torques are
finite and jump at most where a spline starts, ends or has prescribed derivatives. Sines run along a phase that starts
and stops smoothly:

    y_i(theta) = c_i + d_i theta + sum_k A_ki sin(w_ki theta + phi_ki),   theta' = rate e(t)

e rises from 0 to 1, and falls again, as 35 x^4 - 84 x^5 + 70 x^6 - 20 x^7. The path is exactly that of the sines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from threading import get_ident

import casadi as ca
import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.robots.quadrotor.flatness import FlatTrajectory
from metarl_robot.trajectories.compiled_trajectory import CompiledTrajectory
from metarl_robot.trajectories.minimum_snap import minimum_snap
from metarl_robot.trajectories.polynomials import Polynomials

Array = NDArray[np.float64]

_STEP = np.array([0.0, 0.0, 0.0, 0.0, 35.0, -84.0, 70.0, -20.0])  # 0 to 1; three derivatives zero at both ends
_STEP_PEAKS = np.array(
    [np.abs(polynomial.polyval(np.linspace(0.0, 1.0, 1001), polynomial.polyder(_STEP, k))).max() for k in range(1, 5)]
)
_ORDERS = np.arange(5.0)[:, None, None]  # of derivatives


@dataclass(frozen=True, eq=False)
class Hover(FlatTrajectory):
    """Stay at position (3,) [m; world] with heading yaw [rad]."""

    position: Array
    yaw: float = 0.0

    def derivatives(self, times: Array) -> Array:
        out = np.zeros((5, len(times), 4))
        out[0] = [*self.position, self.yaw]
        return out


@dataclass(frozen=True, eq=False)
class Sines(FlatTrajectory):
    """Sines along a phase that runs from start_s for duration_s; ramp_s is the time to start and to stop.

    centre, drift: (4,) of x, y, z [m; world] and yaw [rad]. amplitude, frequency, angle: (K, 4) A, w, phi. rate_rad_s:
    of the phase. See the module's docstring.
    """

    centre: Array
    amplitude: Array
    frequency: Array
    angle: Array
    drift: Array = field(default_factory=lambda: np.zeros(4))
    rate_rad_s: float = 1.0
    ramp_s: float = 2.0
    start_s: float = 0.0
    duration_s: float = np.inf

    def derivatives(self, times: Array) -> Array:
        return _sines(len(self.amplitude), get_ident())(times, self._parameters)

    @cached_property
    def _parameters(self) -> Array:
        """Parameters of `_sines`."""
        ramp = min(self.ramp_s, self.duration_s / 2)
        scalars = [self.rate_rad_s, ramp, self.start_s, self.duration_s]
        return np.concatenate(
            [self.centre, self.drift, self.amplitude.ravel(), self.frequency.ravel(), self.angle.ravel(), scalars]
        )


@cache
def _sines(count: int, _thread: int) -> CompiledTrajectory:
    """Compile `count` sines, one instance for each thread.

    Parameters: centre, drift, amplitude, frequency, angle, rate, ramp, start and duration.
    """
    time, centre, drift = ca.SX.sym("time"), ca.SX.sym("centre", 4), ca.SX.sym("drift", 4)
    amplitude, frequency, angle = (ca.SX.sym(name, 4, count) for name in ("amplitude", "frequency", "angle"))
    rate, ramp, start, duration = scalars = [ca.SX.sym(name) for name in ("rate", "ramp", "start", "duration")]

    def run(since: ca.SX) -> ca.SX:
        """Phase at unit rate, a time `since` after the start."""
        rising = ca.polyval(ca.DM(polynomial.polyint(_STEP)[::-1]), ca.fmax(since / ramp, 0.0))
        return ca.if_else(since < ramp, ramp * rising, since - ramp / 2)

    theta = rate * (run(time - start) - run(time - start - duration + ramp))
    outputs = centre + drift * theta + ca.sum2(amplitude * ca.sin(frequency * theta + angle))
    return CompiledTrajectory(time, ca.veccat(centre, drift, amplitude, frequency, angle, *scalars), outputs, 4)


@dataclass(frozen=True, eq=False)
class FigureEight(FlatTrajectory):
    """Upright figure eight (size_m[0] sin t, 0, size_m[1] sin 2t) about centre (3,) [m; world].

    t is rate_rad_s times time. It starts at the centre.
    """

    centre: Array
    size_m: tuple[float, float] = (1.25, 0.75)
    rate_rad_s: float = 1.0
    ramp_s: float = 2.0
    start_s: float = 0.0
    duration_s: float = np.inf
    yaw: float = 0.0

    @cached_property
    def _sines(self) -> Sines:
        amplitude = np.array([[self.size_m[0], 0.0, self.size_m[1], 0.0]])
        frequency = np.array([[1.0, 0.0, 2.0, 0.0]])
        centre = np.array([*self.centre, self.yaw])
        return Sines(
            centre,
            amplitude,
            frequency,
            np.zeros((1, 4)),
            np.zeros(4),
            self.rate_rad_s,
            self.ramp_s,
            self.start_s,
            self.duration_s,
        )

    def derivatives(self, times: Array) -> Array:
        return self._sines.derivatives(times)


@dataclass(frozen=True, eq=False)
class Circle(FlatTrajectory):
    """Horizontal circle about centre (3,) [m; world], counter-clockwise from its easternmost point.

    The heading follows the path, or is constant at yaw [rad].
    """

    centre: Array
    radius_m: float
    speed_m_s: float
    ramp_s: float = 3.0
    start_s: float = 0.0
    duration_s: float = np.inf
    yaw: float | None = None

    @cached_property
    def _sines(self) -> Sines:
        forward = self.yaw is None
        centre = np.array([*self.centre, np.pi / 2 if self.yaw is None else self.yaw])
        amplitude = np.array([[self.radius_m, self.radius_m, 0.0, 0.0]])
        frequency, angle = np.array([[1.0, 1.0, 0.0, 0.0]]), np.array([[np.pi / 2, 0.0, 0.0, 0.0]])
        drift = np.array([0.0, 0.0, 0.0, 1.0 if forward else 0.0])
        rate = self.speed_m_s / self.radius_m
        return Sines(centre, amplitude, frequency, angle, drift, rate, self.ramp_s, self.start_s, self.duration_s)

    def derivatives(self, times: Array) -> Array:
        return self._sines.derivatives(times)


@dataclass(frozen=True, eq=False)
class FlatSpline(FlatTrajectory):
    """Minimum snap through points, for a ROS trajectory or path.

    times: (K,) increasing [s]. positions: (K, 3) [m; world]. yaw: (K,) [rad], None: 0; it turns the shorter way between
    points. velocities, accelerations: (K, 3) or None; yaw_rates: (K,) or None. Given derivatives are met at every
    point; others are zero at both ends and free between them. Before the first and after the last point the robot
    stands still.

    Raises:
        SignalError: times do not increase, sizes differ, or a value is not finite (raised on construction).
    """

    times: Array
    positions: Array
    yaw: Array | None = None
    velocities: Array | None = None
    accelerations: Array | None = None
    yaw_rates: Array | None = None

    def __post_init__(self) -> None:
        if np.shape(self.positions)[1:] != (3,):
            raise SignalError(f"trajectory: positions must have shape (K, 3); given {np.shape(self.positions)}")
        if self.yaw is not None and np.shape(self.yaw) != np.shape(self.positions)[:1]:
            raise SignalError(
                f"trajectory: headings have shape {np.shape(self.yaw)}; there are {len(self.positions)} points"
            )
        _ = self._path

    @cached_property
    def _path(self) -> Polynomials:
        """Position and heading."""
        yaw = np.zeros(len(self.positions)) if self.yaw is None else np.unwrap(self.yaw)
        if self.velocities is None and self.accelerations is None and self.yaw_rates is None:
            return minimum_snap(self.times, np.column_stack([self.positions, yaw]))
        place = minimum_snap(self.times, self.positions, self.velocities, self.accelerations)
        heading = minimum_snap(
            self.times, yaw[:, None], None if self.yaw_rates is None else np.asarray(self.yaw_rates)[:, None]
        )
        return Polynomials(place.knots, np.concatenate([place.coefficients, heading.coefficients], axis=2))

    def derivatives(self, times: Array) -> Array:
        return self._path.derivatives(times, 4)


class MinimumSnap(FlatSpline):
    """Minimum snap through waypoints (K, 3) [m; world] from rest to rest, at given times or a given top speed.

    Raises:
        SignalError: neither or both of times and speed_m_s, fewer than two waypoints, or two equal ones in a row.
    """

    def __init__(
        self, waypoints: Array, times: Array | None = None, speed_m_s: float | None = None, yaw: Array | None = None
    ) -> None:
        if (times is None) == (speed_m_s is None):
            raise SignalError("minimum snap: give either times (K,) [s] or speed_m_s")
        if speed_m_s is not None:
            times = _times_at_speed(np.asarray(waypoints, float), speed_m_s)
        super().__init__(np.asarray(times, float), np.asarray(waypoints, float), yaw)


@dataclass(frozen=True, eq=False)
class Steps(FlatTrajectory):
    """Steps from rest to rest: at times (K,) [s] towards positions (K, 3) [m; world].

    A step is a straight line with the time law _STEP. It takes the shortest time that keeps speed [m/s], acceleration,
    jerk and snap below `limits`. A step that is due during another waits for its end. Before times[0] the robot stands
    at positions[0].
    """

    times: Array
    positions: Array
    limits: tuple[float, float, float, float] = (4.0, 4.0, 30.0, 400.0)
    yaw: float = 0.0

    @cached_property
    def _path(self) -> Polynomials:
        """Alternating rests and steps."""
        positions = np.column_stack([self.positions, np.full(len(self.positions), self.yaw)])
        jumps = np.diff(positions, axis=0)
        distance = np.linalg.norm(jumps, axis=1)
        orders = np.arange(1, 5)[:, None]
        duration = np.max(
            (_STEP_PEAKS[:, None] * distance / np.array(self.limits)[:, None]) ** (1 / orders), axis=0, initial=1e-3
        )
        arrival, departure = [self.times[0]], []
        for due, takes in zip(self.times[1:], duration, strict=True):
            departure.append(max(due, arrival[-1]))
            arrival.append(departure[-1] + takes)
        knots = np.column_stack([arrival, [*departure, arrival[-1] + 1.0]]).ravel()
        coefficients = np.zeros((len(knots) - 1, len(_STEP), 4))
        coefficients[::2, 0] = positions
        coefficients[1::2] = _STEP[:, None] * jumps[:, None]
        coefficients[1::2, 0] = positions[:-1]
        lasting = np.diff(knots) > 0.0  # a step that waits for another has no rest before it
        return Polynomials(np.append(knots[:-1][lasting], knots[-1]), coefficients[lasting])

    def derivatives(self, times: Array) -> Array:
        return self._path.derivatives(times, 4)


@dataclass(frozen=True, eq=False)
class Paced(FlatTrajectory):
    """Another flat trajectory at `pace` times its speed: same path, accelerations times pace squared.

    Time 0 stays.
    """

    trajectory: FlatTrajectory
    pace: float

    def derivatives(self, times: Array) -> Array:
        return self.trajectory.derivatives(times * self.pace) * self._by_order

    @cached_property
    def _by_order(self) -> Array:
        return np.asarray(self.pace**_ORDERS)


def _times_at_speed(waypoints: Array, speed_m_s: float) -> Array:
    """Times (K,) in proportion to the distances, such that the top speed is speed_m_s.

    The first and the last segment take longer.
    """
    if len(waypoints) < 2 or not np.isfinite(speed_m_s) or speed_m_s <= 0.0:
        raise SignalError(
            f"minimum snap: needs two waypoints or more and a positive speed; given {len(waypoints)} and {speed_m_s} "
            "m/s"
        )
    length = np.linalg.norm(np.diff(waypoints, axis=0), axis=1)
    if np.any(length <= 0.0):
        raise SignalError(
            f"minimum snap: waypoints {int(np.argmin(length))} and {int(np.argmin(length)) + 1} are the same point"
        )
    length[[0, -1]] *= _END_SHARE
    times = np.concatenate([[0.0], np.cumsum(length)]) / speed_m_s
    speeds = minimum_snap(times, waypoints).derivatives(np.linspace(0.0, times[-1], 50 * len(times)), 1)[1]
    return np.asarray(times * (np.linalg.norm(speeds, axis=1).max() / speed_m_s))


_END_SHARE = 1.5  # a segment from or to rest takes longer by this factor than one passed at speed
