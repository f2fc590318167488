"""What quadrotors fly: flat trajectories from rest to rest, and the check that every reference must pass.

All are flat trajectories (flatness.py) with a continuous jerk, so that attitude and body rates are continuous: torques are
finite, and jump at most where a spline starts, ends or has its derivatives given. Sines run along a phase that starts and stops smoothly:

    y_i(theta) = c_i + d_i theta + sum_k A_ki sin(w_ki theta + phi_ki),   theta' = rate e(t)

where e rises from 0 to 1, and falls again, as 35 x^4 - 84 x^5 + 70 x^6 - 20 x^7: the path is that of the sines exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache, partial
from threading import get_ident
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from metarl_robot.curve import Curve
from metarl_robot.dynamics.knots import AnyNumber
from metarl_robot.errors import SignalError
from metarl_robot.flatness import FlatTrajectory
from metarl_robot.minimum_snap import minimum_snap
from metarl_robot.polynomials import Polynomials
from metarl_robot.quadrotor import GRAVITY_M_S2, Quadrotor
from metarl_robot.signals import Reference, Setpoints

Array = NDArray[np.float64]

_TOLERANCE = 1e-6  # relative: a flight may touch a limit exactly
_STEP = np.array([0.0, 0.0, 0.0, 0.0, 35.0, -84.0, 70.0, -20.0])  # from 0 to 1 with three derivatives zero at both ends
_STEP_PEAKS = np.array([np.abs(polynomial.polyval(np.linspace(0.0, 1.0, 1001), polynomial.polyder(_STEP, k))).max() for k in range(1, 5)])
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
    """Sines along a phase that runs from start_s for duration_s and takes ramp_s to start and to stop: see the module's docstring.

    centre, drift: (4,) of x, y, z [m; world] and yaw [rad]. amplitude, frequency, angle: (K, 4) A, w, phi. rate_rad_s: of the phase.
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
        """As `_sines` takes them."""
        ramp = min(self.ramp_s, self.duration_s / 2)
        scalars = [self.rate_rad_s, ramp, self.start_s, self.duration_s]
        return np.concatenate([self.centre, self.drift, self.amplitude.ravel(), self.frequency.ravel(), self.angle.ravel(), scalars])


@cache
def _sines(count: int, _thread: int) -> Curve:
    """So many of them, for each thread its own; parameters: centre, drift, amplitude, frequency, angle, rate, ramp, start and duration."""
    time, centre, drift = ca.SX.sym("time"), ca.SX.sym("centre", 4), ca.SX.sym("drift", 4)
    amplitude, frequency, angle = (ca.SX.sym(name, 4, count) for name in ("amplitude", "frequency", "angle"))
    rate, ramp, start, duration = scalars = [ca.SX.sym(name) for name in ("rate", "ramp", "start", "duration")]

    def run(since: ca.SX) -> ca.SX:
        """Phase at unit rate, `since` the start."""
        rising = ca.polyval(ca.DM(polynomial.polyint(_STEP)[::-1]), ca.fmax(since / ramp, 0.0))
        return ca.if_else(since < ramp, ramp * rising, since - ramp / 2)

    theta = rate * (run(time - start) - run(time - start - duration + ramp))
    outputs = centre + drift * theta + ca.sum2(amplitude * ca.sin(frequency * theta + angle))
    return Curve(time, ca.veccat(centre, drift, amplitude, frequency, angle, *scalars), outputs, 4)


@dataclass(frozen=True, eq=False)
class FigureEight(FlatTrajectory):
    """The upright eight (size_m[0] sin t, 0, size_m[1] sin 2t) about centre (3,) [m; world], t = rate_rad_s times time.

    It starts at the centre.
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
            centre, amplitude, frequency, np.zeros((1, 4)), np.zeros(4), self.rate_rad_s, self.ramp_s, self.start_s, self.duration_s
        )

    def derivatives(self, times: Array) -> Array:
        return self._sines.derivatives(times)


@dataclass(frozen=True, eq=False)
class Circle(FlatTrajectory):
    """A level circle about centre (3,) [m; world], counter-clockwise from its eastmost point; nose along the path, or at yaw [rad]."""

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
    """Least snap through points: what a ROS trajectory or path asks for.

    times: (K,) increasing [s]. positions: (K, 3) [m; world]. yaw: (K,) [rad], None: 0; the shorter way from point to point.
    velocities, accelerations: (K, 3) or None; yaw_rates: (K,) or None. What is given is met at every point; what is not is zero
    at both ends and free between them. Before its first point and after its last it stands still there.

    Raises:
        SignalError: when made: times do not increase, sizes differ, or a value is not finite.
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
            raise SignalError(f"trajectory: headings have shape {np.shape(self.yaw)}; there are {len(self.positions)} points")
        _ = self._path

    @cached_property
    def _path(self) -> Polynomials:
        """Position and heading."""
        yaw = np.zeros(len(self.positions)) if self.yaw is None else np.unwrap(self.yaw)
        if self.velocities is None and self.accelerations is None and self.yaw_rates is None:
            return minimum_snap(self.times, np.column_stack([self.positions, yaw]))
        place = minimum_snap(self.times, self.positions, self.velocities, self.accelerations)
        heading = minimum_snap(self.times, yaw[:, None], None if self.yaw_rates is None else np.asarray(self.yaw_rates)[:, None])
        return Polynomials(place.knots, np.concatenate([place.coefficients, heading.coefficients], axis=2))

    def derivatives(self, times: Array) -> Array:
        return self._path.derivatives(times, 4)


class MinimumSnap(FlatSpline):
    """Least snap through waypoints (K, 3) [m; world] from rest to rest, at given times or as fast as a given top speed allows.

    Raises:
        SignalError: neither or both of times and speed_m_s, fewer than two waypoints, or two equal ones in a row.
    """

    def __init__(self, waypoints: Array, times: Array | None = None, speed_m_s: float | None = None, yaw: Array | None = None) -> None:
        if (times is None) == (speed_m_s is None):
            raise SignalError("minimum snap: give either times (K,) [s] or speed_m_s")
        if speed_m_s is not None:
            times = _times_at_speed(np.asarray(waypoints, float), speed_m_s)
        super().__init__(np.asarray(times, float), np.asarray(waypoints, float), yaw)


@dataclass(frozen=True, eq=False)
class Steps(FlatTrajectory):
    """Jumps from rest to rest: from times (K,) [s] on to positions (K, 3) [m; world], as fast as the limits on a jump allow.

    A jump is a straight line travelled as _STEP; it takes the time that keeps speed [m/s], acceleration, jerk and snap below
    `limits`, and one that is due during another waits for its end. Before times[0]: at positions[0].
    """

    times: Array
    positions: Array
    limits: tuple[float, float, float, float] = (4.0, 4.0, 30.0, 400.0)
    yaw: float = 0.0

    @cached_property
    def _path(self) -> Polynomials:
        """It stands, jumps, stands, ..."""
        positions = np.column_stack([self.positions, np.full(len(self.positions), self.yaw)])
        jumps = np.diff(positions, axis=0)
        distance = np.linalg.norm(jumps, axis=1)
        orders = np.arange(1, 5)[:, None]
        duration = np.max((_STEP_PEAKS[:, None] * distance / np.array(self.limits)[:, None]) ** (1 / orders), axis=0, initial=1e-3)
        arrival, departure = [self.times[0]], []
        for due, takes in zip(self.times[1:], duration, strict=True):
            departure.append(max(due, arrival[-1]))
            arrival.append(departure[-1] + takes)
        knots = np.column_stack([arrival, [*departure, arrival[-1] + 1.0]]).ravel()
        coefficients = np.zeros((len(knots) - 1, len(_STEP), 4))
        coefficients[::2, 0] = positions
        coefficients[1::2] = _STEP[:, None] * jumps[:, None]
        coefficients[1::2, 0] = positions[:-1]
        lasting = np.diff(knots) > 0.0  # where a jump waits for another it does not stand between them
        return Polynomials(np.append(knots[:-1][lasting], knots[-1]), coefficients[lasting])

    def derivatives(self, times: Array) -> Array:
        return self._path.derivatives(times, 4)


@dataclass(frozen=True, eq=False)
class Paced(FlatTrajectory):
    """Another flat trajectory, flown at `pace` times its speed: the same path, accelerations times pace squared. Time 0 stays."""

    trajectory: FlatTrajectory
    pace: float

    def derivatives(self, times: Array) -> Array:
        return self.trajectory.derivatives(times * self.pace) * self._by_order

    @cached_property
    def _by_order(self) -> Array:
        return np.asarray(self.pace**_ORDERS)


def _times_at_speed(waypoints: Array, speed_m_s: float) -> Array:
    """(K,) times in proportion to the distances, longer for the first and the last, such that the top speed is speed_m_s."""
    if len(waypoints) < 2 or not np.isfinite(speed_m_s) or speed_m_s <= 0.0:
        raise SignalError(f"minimum snap: needs two waypoints or more and a positive speed; given {len(waypoints)} and {speed_m_s} m/s")
    length = np.linalg.norm(np.diff(waypoints, axis=0), axis=1)
    if np.any(length <= 0.0):
        raise SignalError(f"minimum snap: waypoints {int(np.argmin(length))} and {int(np.argmin(length)) + 1} are the same point")
    length[[0, -1]] *= _END_SHARE
    times = np.concatenate([[0.0], np.cumsum(length)]) / speed_m_s
    speeds = minimum_snap(times, waypoints).derivatives(np.linspace(0.0, times[-1], 50 * len(times)), 1)[1]
    return np.asarray(times * (np.linalg.norm(speeds, axis=1).max() / speed_m_s))


_END_SHARE = 1.5  # a segment from or to rest takes this much longer than one passed at speed


class _Limits(NamedTuple):
    """Of the nine numbers that `_needs` tells. lower, upper: (9,); rest: (9,) what a hover takes, which usage is measured from."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    allowed: tuple[str, ...]
    lower: Array
    upper: Array
    rest: Array

    def usage(self, needs: Array) -> Array:
        """(N, 9) shares of the limits."""
        return np.maximum((needs - self.rest) / (self.upper - self.rest), (self.rest - needs) / (self.rest - self.lower))


@lru_cache(maxsize=16)
def _limits(robot: Quadrotor, thrust_share: float) -> _Limits:
    lower, upper, turning = robot.effort_lower, robot.effort_limit * thrust_share, robot.velocity_limit[3:]
    most = np.array([robot.tilt_limit_rad, robot.velocity_limit[0], *turning])
    thrusts = (f"[{low:.4g}, {high:.4g}] N" for low, high in zip(lower, upper, strict=True))
    return _Limits(
        (*(f"thrust of '{name}'" for name in robot.channel_names), "tilt", "speed", *(f"rate about body {axis}" for axis in "xyz")),
        ("N", "N", "N", "N", "rad", "m/s", "rad/s", "rad/s", "rad/s"),
        (*thrusts, f"up to {most[0]:.4g} rad", f"up to {most[1]:.4g} m/s", *(f"up to ±{bound:.4g} rad/s" for bound in turning)),
        np.concatenate([lower, -most]),
        np.concatenate([upper, most]),
        np.concatenate([np.full(4, 0.25 * robot.mass_kg * GRAVITY_M_S2), np.zeros(5)]),
    )


def _needs(robot: Quadrotor, points: Setpoints) -> Array:
    """(N, 9) what the nominal robot needs to be at setpoints exactly: rotor thrusts [N], tilt [rad], speed [m/s], body rates [rad/s]."""
    (needs,) = _compiled_needs(get_ident())(np.concatenate([points.q, points.v, points.a], axis=1), _parameters(robot))
    return needs


@lru_cache(maxsize=16)
def _parameters(robot: Quadrotor) -> Array:
    """As `_compiled_needs` takes them."""
    return np.concatenate([[robot.mass_kg], robot.inertia.ravel(), np.linalg.inv(robot.allocation).T.ravel()])


@cache
def _compiled_needs(_thread: int) -> AnyNumber:
    """For each thread its own; parameters: mass, inertia and the inverse of the allocation, by columns."""
    q, v, a = ca.SX.sym("q", 7), ca.SX.sym("v", 6), ca.SX.sym("a", 6)
    mass, inertia, inverse = ca.SX.sym("mass"), ca.SX.sym("inertia", 3, 3), ca.SX.sym("inverse", 4, 4)
    w, x, y, z = ca.vertsplit(q[3:])
    up = ca.vertcat(2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y))
    collective = mass * ca.norm_2(a[:3] + ca.DM([0.0, 0.0, GRAVITY_M_S2]))
    torque = inertia @ a[3:] + ca.cross(v[3:], inertia @ v[3:])
    thrusts = inverse @ ca.vertcat(collective, torque)
    needs = ca.vertcat(thrusts, ca.atan2(ca.norm_2(up[:2]), up[2]), ca.norm_2(v[:3]), v[3:])
    return AnyNumber(ca.Function("needs", [ca.vertcat(q, v, a), ca.veccat(mass, inertia, inverse)], [needs]))


def check_flight(
    robot: Quadrotor, reference: Reference, start_s: float, duration_s: float, thrust_share: float = 1.0, rate_hz: float = 200.0
) -> None:
    """Refuse a reference that the nominal robot cannot fly between start_s and start_s + duration_s, sampled at rate_hz.

    thrust_share: of the thrust limit, how much it may need; the rest is left for what is not nominal.

    Raises:
        SignalError: wrong sizes, a value that is not finite, or a thrust, tilt, rate or speed that is too great; the message
            names what, how much, when, and what is allowed.
    """
    times = start_s + np.linspace(0.0, duration_s, max(2, int(np.ceil(duration_s * rate_hz)) + 1))
    points = reference.sample(times)
    _check_numbers(robot, points, len(times))
    needs, limits = _needs(robot, points), _limits(robot, thrust_share)
    share = limits.usage(needs)
    k, worst = np.unravel_index(int(np.argmax(share)), share.shape)
    if share[k, worst] > 1.0 + _TOLERANCE:
        raise SignalError(
            f"reference: {limits.names[worst]} reaches {needs[k, worst]:.4g} {limits.units[worst]} at {times[k]:.3f} s; "
            f"{robot.name} allows {limits.allowed[worst]}"
        )


def usage(robot: Quadrotor, reference: Reference, start_s: float, duration_s: float, thrust_share: float = 1.0) -> float:
    """The greatest share of a limit that a reference needs: up to 1 `check_flight` accepts it."""
    return _greatest_use(robot, reference, start_s + _moments(duration_s), thrust_share)


def _moments(duration_s: float) -> Array:
    """Times from 0 to duration_s, 10 ms apart or a little less."""
    return np.linspace(0.0, duration_s, max(2, int(np.ceil(duration_s * 100.0)) + 1))


def _greatest_use(robot: Quadrotor, reference: Reference, times: Array, thrust_share: float) -> float:
    needs = _needs(robot, reference.sample(times))
    return float(_limits(robot, thrust_share).usage(np.array([needs.min(axis=0), needs.max(axis=0)])).max())


def _check_numbers(robot: Quadrotor, points: Setpoints, count: int) -> None:
    for what, values, size in (("pose", points.q, robot.nq), ("velocity", points.v, robot.dof), ("acceleration", points.a, robot.dof)):
        if values.shape != (count, size):
            raise SignalError(f"reference: {what} has shape {values.shape}; {robot.name} needs ({count}, {size})")
        if not np.all(np.isfinite(values)):
            raise SignalError(f"reference: {what} holds a value that is not finite")
    norm = np.linalg.norm(points.q[:, 3:], axis=1)
    if np.any(np.abs(norm - 1.0) > _QUATERNION_TOLERANCE):
        worst = float(norm[np.argmax(np.abs(norm - 1.0))])
        raise SignalError(f"reference: a quaternion of norm {worst:.4f}; allowed: 1 ± {_QUATERNION_TOLERANCE}")


_QUATERNION_TOLERANCE = 1e-3


class FlightRange(NamedTuple):
    """How lively random flights are.

    size_m: half the box (x, y, z) that they fill. frequency_rad_s: slowest and fastest sine. speed_m_s: least and greatest top
    speed of flights through waypoints. yaw_rad: half the range of headings. thrust_share: of the limit, that they may need.
    """

    size_m: tuple[float, float, float] = (1.5, 1.5, 0.75)
    frequency_rad_s: tuple[float, float] = (0.6, 2.5)
    speed_m_s: tuple[float, float] = (1.0, 4.0)
    yaw_rad: float = 0.5
    thrust_share: float = 0.85


_RANGE = FlightRange()
_SINES = 2  # for each output
_SLOWER = 0.9
_LOOKS = 4  # at every fourth moment: the first mostly shows that a pace is too fast


def random_flight(
    robot: Quadrotor,
    rng: np.random.Generator,
    duration_s: float,
    centre: tuple[float, float, float] = (0.0, 0.0, 2.0),
    flight: FlightRange = _RANGE,
) -> FlatTrajectory:
    """A lively flight about centre [m; world] from rest at t = 0 to duration_s or later: sines or waypoints, each half of the time.

    What the nominal robot cannot fly, or not with its share of thrust, is slowed until it can.
    """
    return drawn_flight(robot, rng, duration_s, centre, flight)()


def drawn_flight(
    robot: Quadrotor,
    rng: np.random.Generator,
    duration_s: float,
    centre: tuple[float, float, float] = (0.0, 0.0, 2.0),
    flight: FlightRange = _RANGE,
) -> Callable[[], FlatTrajectory]:
    """`random_flight`, all random numbers drawn: the call that is left works it out, in any thread."""
    draw = _random_sines if rng.random() < 0.5 else _random_waypoints
    make = draw(rng, duration_s, np.array([*centre, 0.0]), flight)
    return lambda: slowed(robot, make(), duration_s, flight.thrust_share)


def slowed(robot: Quadrotor, trajectory: FlatTrajectory, duration_s: float, thrust_share: float = 1.0) -> FlatTrajectory:
    """The trajectory itself where the nominal robot can fly it in [0, duration_s] with that share of thrust, else at a slower pace."""
    flown, pace, times = trajectory, 1.0, _moments(duration_s)
    looks = [times[k::_LOOKS] for k in range(min(_LOOKS, len(times)))]
    while any(_greatest_use(robot, flown, look, thrust_share) > 1.0 for look in looks):
        pace *= _SLOWER
        flown = Paced(trajectory, pace)
    return flown


def _random_sines(rng: np.random.Generator, duration_s: float, centre: Array, flight: FlightRange) -> Callable[[], Sines]:
    size = np.array([*flight.size_m, flight.yaw_rad])
    share = rng.dirichlet(np.ones(_SINES), 4).T
    frequency = rng.uniform(*flight.frequency_rad_s, (_SINES, 4))
    return partial(Sines, centre, share * size, frequency, rng.uniform(0.0, 2 * np.pi, (_SINES, 4)))


def _random_waypoints(rng: np.random.Generator, duration_s: float, centre: Array, flight: FlightRange) -> Callable[[], MinimumSnap]:
    speed, size = rng.uniform(*flight.speed_m_s), np.array(flight.size_m)
    points = [centre[:3] + rng.uniform(-1.0, 1.0, 3) * size]
    travelled = 0.0
    while travelled < speed * duration_s:
        point = centre[:3] + rng.uniform(-1.0, 1.0, 3) * size
        if (leg := float(np.linalg.norm(point - points[-1]))) > 0.3 * size.max():  # short legs would be flown at high acceleration
            points.append(point)
            travelled += leg
    return partial(MinimumSnap, np.array(points), speed_m_s=speed, yaw=rng.uniform(-1.0, 1.0, len(points)) * flight.yaw_rad)
