# SPDX-License-Identifier: Apache-2.0
"""Trajectories in a Euclidean configuration space, and the feasibility check of references.

The position q of such a robot is a vector and its velocity is v = q̇: the joints of an arm, a point on a plane. Units
are those of the robot's coordinates, here written as rad. Velocity and acceleration are analytic.

MultiSine: q(t) = c + e(t) sum_k A_k sin(2 pi f_k (t - t_0) + phi_k). The envelope e rises from 0 to 1 over the ramp
as the minimum-jerk step 10 x^3 - 15 x^4 + 6 x^5, and falls likewise at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from threading import get_ident
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.coordinates import unit_of
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Reference, Setpoints, State
from metarl_robot.trajectories.compiled_trajectory import CompiledTrajectory
from metarl_robot.trajectories.splines import Spline, from_points

Array = NDArray[np.float64]

_TOLERANCE = 1e-9  # rad and rad/s: a trajectory may touch a limit exactly
BRAKE_S, _SHORTEST_BRAKE_S = 0.5, 0.02


@dataclass(frozen=True, eq=False)
class Stop:
    """Stop of each coordinate within its own time T, over a distance of v T / 2.

    The velocity is v (1 - 3 s^2 + 2 s^3) with s = (t - start_s) / T. start_s: start [s]. q, v: (n,) state at the
    start [rad, rad/s]. duration_s: (n,) T.
    """

    start_s: float
    q: Array
    v: Array
    duration_s: Array

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        s = np.clip((times[:, None] - self.start_s) / self.duration_s, 0.0, 1.0)
        way = self.v * self.duration_s * (s - s**3 + 0.5 * s**4)
        return Setpoints(
            self.q + way, self.v * (1.0 - s**2 * (3.0 - 2.0 * s)), -6.0 * self.v / self.duration_s * s * (1.0 - s)
        )


def stop(robot: Robot, state: State, start_s: float) -> Stop:
    """Stop from a state within BRAKE_S, or faster where a coordinate is near a position limit."""
    q, v = state.q, state.v
    room = np.maximum(np.where(v > 0.0, robot.position_upper - q, q - robot.position_lower), 0.0)
    return Stop(
        start_s, q.copy(), v.copy(), np.clip(2.0 * room / np.maximum(np.abs(v), _TOLERANCE), _SHORTEST_BRAKE_S, BRAKE_S)
    )


@dataclass(frozen=True, eq=False)
class Waypoints:
    """Minimum-jerk moves from rest to rest. times: (K,) increasing [s]; positions: (K, n) [rad]."""

    times: Array
    positions: Array

    @cached_property
    def spline(self) -> Spline:
        rest = np.zeros_like(self.positions)
        return from_points(self.times, self.positions, rest, rest)

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        return self.spline.sample(times)


@dataclass(frozen=True, eq=False)
class MultiSine:
    """Sines about a centre, from rest to rest.

    centre: (n,) [rad].
    amplitude, frequency_hz, phase: (K, n) [rad, Hz, rad].
    start_s, duration_s: start and length of the motion [s].
    ramp_s: time to rise and to fall [s].
    fastest: (n,) [rad/s] speed limit, or None. The ramp adds to the sines' own speed. The amplitudes of a joint that
        would exceed the limit are scaled down, at the first sample.
    """

    centre: Array
    amplitude: Array
    frequency_hz: Array
    phase: Array
    start_s: float
    duration_s: float
    ramp_s: float
    fastest: Array | None = None

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        return self._sampled(times, self._parameters)

    def _sampled(self, times: Array, parameters: Array) -> Setpoints:
        return Setpoints(*_sines(*self.amplitude.shape, get_ident())(times, parameters))

    @cached_property
    def _parameters(self) -> Array:
        """Parameters of `_sines`."""
        if self.fastest is None:
            return self._with(self.amplitude)
        times = self.start_s + np.arange(0.0, self.duration_s, 0.005)
        peak = np.abs(self._sampled(times, self._with(self.amplitude)).v).max(0)
        return self._with(self.amplitude * np.minimum(1.0, self.fastest / np.maximum(peak, 1e-9)))

    def _with(self, amplitude: Array) -> Array:
        scalars = [self.start_s, self.duration_s, self.ramp_s]
        return np.concatenate([self.centre, amplitude.ravel(), self.frequency_hz.ravel(), self.phase.ravel(), scalars])


@cache
def _sines(count: int, joints: int, _thread: int) -> CompiledTrajectory:
    """Compiled sines for `joints` joints, `count` each, for each thread; parameters: the fields of MultiSine."""
    time, centre = ca.SX.sym("time"), ca.SX.sym("centre", joints)
    amplitude, frequency, phase = (ca.SX.sym(name, joints, count) for name in ("amplitude", "frequency", "phase"))
    start, duration, ramp = scalars = [ca.SX.sym(name) for name in ("start", "duration", "ramp")]
    since = time - start
    x = ca.fmin(ca.fmax(ca.fmin(since, duration - since) / ramp, 0.0), 1.0)
    envelope = x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    outputs = centre + envelope * ca.sum2(amplitude * ca.sin(2 * np.pi * frequency * since + phase))
    return CompiledTrajectory(time, ca.veccat(centre, amplitude, frequency, phase, *scalars), outputs, 2)


def braked(spline: Spline, robot: Robot) -> Spline:
    """Append a stop to a motion that still moves at its last point.

    In the added piece of length T the velocity falls as v (1 - 3 s^2 + 2 s^3), s = t / T. Velocity does not jump,
    nothing overshoots, and the distance is v T / 2. Near a position limit T is shorter.
    """
    end = spline.path.derivatives(spline.knots[-1:], 1)[:, 0]
    q, v = end
    if np.all(np.abs(v) <= _TOLERANCE):
        return spline
    room = np.where(v > 0.0, robot.position_upper - q, q - robot.position_lower)
    moving = np.abs(v) > _TOLERANCE
    stop_s = min(BRAKE_S, max(_SHORTEST_BRAKE_S, float(np.min(2.0 * room[moving] / np.abs(v[moving])))))
    zero = np.zeros_like(v)
    piece = np.stack([q, v, zero, -v / stop_s**2, 0.5 * v / stop_s**3, zero])
    return Spline(
        np.append(spline.knots, spline.knots[-1] + stop_s), np.concatenate([spline.coefficients, piece[None]])
    )


def check_reference(
    robot: Robot,
    reference: Reference,
    start_s: float,
    duration_s: float,
    rate_hz: float = 200.0,
    where: Array | None = None,
) -> None:
    """Check that the robot can follow a reference from start_s for duration_s, sampled at rate_hz.

    where: (n,) [rad] start position. A joint that starts outside its limits may come back, but not move farther
        outside on the way.

    Raises:
        SignalError: wrong number of joints, a value that is not finite, or a position or velocity outside a joint's
        range; the message names the joint, the value, the time and the range.
    """
    times = start_s + np.linspace(0.0, duration_s, max(2, int(np.ceil(duration_s * rate_hz)) + 1))
    points = reference.sample(times)
    for what, values in (("position", points.q), ("velocity", points.v), ("acceleration", points.a)):
        if values.shape != (len(times), robot.dof):
            raise SignalError(
                f"reference: {what} has {values.shape[-1]} {robot.wording.channel}s; {robot.name} has {robot.dof}: "
                f"{list(robot.channel_names)}"
            )
        broken = np.flatnonzero(~np.isfinite(values).all(0))
        if len(broken):
            raise SignalError(f"reference: {what} of {_named(robot, int(broken[0]))} is not finite")
    lower, upper = robot.position_lower, robot.position_upper
    if where is not None:
        lower, upper = np.minimum(lower, where), np.maximum(upper, where)
    _check_range(robot, "position", times, points.q, lower, upper)
    _check_range(robot, "velocity", times, points.v, -robot.velocity_limit, robot.velocity_limit)


def _named(robot: Robot, index: int) -> str:
    return f"{robot.wording.channel} '{robot.channel_names[index]}'"


def _check_range(robot: Robot, what: str, times: Array, values: Array, lower: Array, upper: Array) -> None:
    excess = np.maximum(lower - values, values - upper)
    k, joint = np.unravel_index(int(np.argmax(excess)), excess.shape)
    if excess[k, joint] > _TOLERANCE:
        unit = unit_of((robot.coordinates.q if what == "position" else robot.coordinates.v)[joint])
        raise SignalError(
            f"reference: {what} of {_named(robot, int(joint))} reaches {values[k, joint]:.4f} {unit} at "
            f"{times[k]:.3f} s; allowed: [{lower[joint]:.4f}, {upper[joint]:.4f}] {unit}"
        )


class MotionRange(NamedTuple):
    """Ranges of random motions, as fractions of the robot's limits.

    speed: peak velocity of a joint as a fraction of its limit (lowest, highest drawn).
    room: share of the room between the centre and the nearer position limit that a motion may use.
    amplitude_rad: maximum amplitude of a joint.
    frequency_hz: lowest and highest frequency of a sine.
    centre: maximum distance of the centre from home, as a share of the room between home and the limit.
    ramp_s: time in which sines rise.
    """

    speed: tuple[float, float]
    room: float
    amplitude_rad: float
    frequency_hz: tuple[float, float]
    centre: float
    ramp_s: float

    def calmer(self, factor: float) -> MotionRange:
        """Scale speeds and amplitudes by `factor`."""
        return self._replace(
            speed=(self.speed[0] * factor, self.speed[1] * factor), amplitude_rad=self.amplitude_rad * factor
        )


TRACKING = MotionRange(
    speed=(0.2, 0.45), room=0.7, amplitude_rad=0.5, frequency_hz=(0.15, 0.5), centre=0.15, ramp_s=1.0
)
EXCITATION = MotionRange(
    speed=(0.1, 0.6), room=0.9, amplitude_rad=0.8, frequency_hz=(0.1, 2.0), centre=0.45, ramp_s=0.4
)

_SINES = 2


def random_tracking(
    robot: Robot, rng: np.random.Generator, duration_s: float, motion: MotionRange = TRACKING
) -> MultiSine | Waypoints:
    """A random motion about home from t = 0: sines or point-to-point moves, with equal probability.

    Feasible in position and velocity by construction. The effort depends on the task.
    """
    if rng.random() < 0.5:
        return random_sines(robot, rng, duration_s, motion)
    return random_moves(robot, rng, duration_s, motion)


def random_excitation(
    robot: Robot, rng: np.random.Generator, duration_s: float, motion: MotionRange = EXCITATION
) -> MultiSine:
    """A motion through many poses, speeds and accelerations, for identification.

    Feasible in position and velocity.
    """
    return random_sines(robot, rng, duration_s, motion)


def random_sines(robot: Robot, rng: np.random.Generator, duration_s: float, motion: MotionRange) -> MultiSine:
    """Two sines per joint about a random centre, from t = 0 to duration_s, within position and velocity limits."""
    centre = _random_pose(robot, rng, motion.centre)
    frequency = rng.uniform(*motion.frequency_hz, (_SINES, robot.dof))
    share = rng.dirichlet(np.ones(_SINES), robot.dof).T
    speed = rng.uniform(*motion.speed, robot.dof) * robot.velocity_limit
    swing = np.minimum(motion.room * _room(robot, centre), motion.amplitude_rad)
    ramp = min(motion.ramp_s, duration_s / 2)
    amplitude = share * np.minimum(speed / (2 * np.pi * frequency), swing)
    phase = rng.uniform(0.0, 2 * np.pi, (_SINES, robot.dof))
    return MultiSine(centre, amplitude, frequency, phase, 0.0, duration_s, ramp, motion.speed[1] * robot.velocity_limit)


def random_moves(robot: Robot, rng: np.random.Generator, duration_s: float, motion: MotionRange) -> Waypoints:
    """Minimum-jerk moves between random poses about a random centre, without pauses.

    They last from t = 0 to duration_s or later.
    """
    centre = _random_pose(robot, rng, motion.centre)
    swing = np.minimum(motion.room * _room(robot, centre), motion.amplitude_rad)
    times, poses = [0.0], [centre + rng.uniform(-1, 1, robot.dof) * swing]
    while times[-1] < duration_s:
        target = centre + rng.uniform(-1, 1, robot.dof) * swing
        speed = rng.uniform(*motion.speed)
        # peak of minimum jerk: 15/8 of the mean
        shortest = np.max(1.875 * np.abs(target - poses[-1]) / (speed * robot.velocity_limit))
        times.append(times[-1] + max(0.3, float(shortest)))
        poses.append(target)
    return Waypoints(np.array(times), np.array(poses))


def _random_pose(robot: Robot, rng: np.random.Generator, spread: float) -> Array:
    u = rng.uniform(-spread, spread, robot.dof)
    room = np.where(u > 0, robot.position_upper - robot.home, robot.home - robot.position_lower)
    return robot.home + u * room


def _room(robot: Robot, centre: Array) -> Array:
    return np.minimum(robot.position_upper - centre, centre - robot.position_lower)
