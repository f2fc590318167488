# SPDX-License-Identifier: Apache-2.0
"""Flights: exact derivatives, continuity, least snap, and limits that are found out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.polynomial import Polynomial

import metarl_robot.robots.quadrotor.trajectories as flight_module
from metarl_robot.compile import code_cache, compiler
from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.flatness import FlatPoints, FlatTrajectory
from metarl_robot.robots.quadrotor.random_trajectories import drawn_flight, random_flight
from metarl_robot.robots.quadrotor.trajectories import (
    Circle,
    FigureEight,
    FlatSpline,
    Hover,
    MinimumSnap,
    Paced,
    Sines,
    Steps,
)
from metarl_robot.robots.quadrotor.trajectory_limits import _needs, check_flight, slowed, usage
from metarl_robot.trajectories.minimum_snap import minimum_snap
from metarl_robot.trajectories.shifted import Shifted

ABOVE = np.array([0.0, 0.0, 2.0])
CORNERS = np.array([[0.0, 0.0, 2.0], [1.0, 1.0, 2.0], [2.0, 0.0, 3.0], [0.0, -1.0, 2.0]])
TURNING = Sines(
    np.array([*ABOVE, 0.0]),
    np.zeros((1, 4)),
    np.ones((1, 4)),
    np.zeros((1, 4)),
    np.eye(4)[3],
    rate_rad_s=4.0,
    ramp_s=6.0,
)
STEP_S = 1e-4
DERIVATIVE = 1e-4  # central differences at STEP_S: truncation below 1e-5 for every flight here, rounding likewise


def robot(name: str = "x500") -> Quadrotor:
    loaded = load_robot(name, check_model=False)
    assert isinstance(loaded, Quadrotor)
    return loaded


FLIGHTS: dict[str, FlatTrajectory] = {
    "hover": Hover(ABOVE, 0.3),
    "eight": FigureEight(ABOVE),
    "eight that ends": FigureEight(ABOVE, duration_s=7.0, yaw=-2.0),
    "eight that is over before it is at speed": FigureEight(ABOVE, duration_s=3.0),
    "circle": Circle(ABOVE, 3.0, 6.0),
    "circle facing north": Circle(ABOVE, 2.0, 3.0, yaw=np.pi / 2, duration_s=7.0),
    "waypoints": MinimumSnap(CORNERS, speed_m_s=3.0, yaw=np.array([0.0, 1.0, 2.0, 3.0])),
    "steps": Steps(np.array([0.0, 1.0, 1.1]), CORNERS[:3]),
    "points": FlatSpline(
        np.array([0.0, 1.0, 2.5, 4.0]), CORNERS, np.array([0.0, 3.0, -3.0, 0.0]), np.zeros((4, 3)), np.zeros((4, 3))
    ),
    "paced": Paced(FigureEight(ABOVE), 0.7),
    "random sines": random_flight(robot(), np.random.default_rng(3), 10.0),
    "random waypoints": random_flight(robot(), np.random.default_rng(1), 10.0),
}


def around(flight: FlatTrajectory) -> tuple[Setpoints, Setpoints, Setpoints]:
    """Setpoints all through, and STEP_S before and after."""
    times = np.arange(-0.5, 10.0, 0.0131)
    return flight.sample(times), flight.sample(times - STEP_S), flight.sample(times + STEP_S)


def slope(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (after - before) / (2 * STEP_S)


def test_both_sorts_of_random_flight_are_among_them() -> None:
    kinds = {type(getattr(FLIGHTS[name], "trajectory", FLIGHTS[name])) for name in ("random sines", "random waypoints")}
    assert kinds == {Sines, MinimumSnap}


@pytest.mark.parametrize("name", FLIGHTS)
def test_velocities_and_accelerations_are_the_derivatives_of_the_pose(name: str) -> None:
    now, before, after = around(FLIGHTS[name])
    turned = rotation.error(before.q[:, 3:], after.q[:, 3:]) / (2 * STEP_S)
    assert np.allclose(now.v[:, :3], slope(before.q[:, :3], after.q[:, :3]), atol=DERIVATIVE)
    assert np.allclose(now.v[:, 3:], turned, atol=DERIVATIVE)
    assert np.allclose(now.a, slope(before.v, after.v), atol=DERIVATIVE)


@pytest.mark.parametrize("name", FLIGHTS)
def test_thrust_along_body_z_explains_the_acceleration(name: str) -> None:
    points, _, _ = around(FLIGHTS[name])
    force = points.a[:, :3] + np.array([0.0, 0.0, GRAVITY_M_S2])
    assert np.allclose(rotation.cross(force, rotation.up(points.q[:, 3:])), 0.0, atol=1e-9)


@pytest.mark.parametrize("name", FLIGHTS)
def test_heading_is_as_asked_and_quaternions_never_jump(name: str) -> None:
    flight, times = FLIGHTS[name], np.arange(-0.5, 10.0, 0.0131)
    q = flight.sample(times).q[:, 3:]
    assert np.allclose(np.exp(1j * rotation.yaw(q)), np.exp(1j * flight.flat(times).yaw), atol=1e-9)
    assert np.all((q[1:] * q[:-1]).sum(-1) > 0.99)
    one_by_one = np.concatenate([flight.sample(np.array([time])).q for time in times[::50]])
    assert np.allclose(one_by_one[:, 3:], q[::50], atol=1e-12), (
        "the sign must not depend on which other times are asked for"
    )


def taylor(sines: Sines, time: float) -> np.ndarray:
    """(5, 4) outputs and derivatives of sines at a time, from their Taylor polynomials of degree 4 there."""

    def cut(p: Polynomial) -> Polynomial:
        return p.cutdeg(4)

    def run(since: float) -> Polynomial:
        step = Polynomial([0.0, 0.0, 0.0, 0.0, 35.0, -84.0, 70.0, -20.0]).integ()
        if since < ramp:
            return ramp * step(Polynomial([since / ramp, 1.0 / ramp])) if since > 0.0 else Polynomial([0.0])
        return Polynomial([since - 0.5 * ramp, 1.0])

    ramp = min(sines.ramp_s, 0.5 * sines.duration_s)
    since = time - sines.start_s
    theta = cut(sines.rate_rad_s * (run(since) - run(since - (sines.duration_s - ramp))))
    out = np.zeros((5, 4))
    for i in range(4):
        y = sines.centre[i] + sines.drift[i] * theta
        for a, w, phi in zip(sines.amplitude[:, i], sines.frequency[:, i], sines.angle[:, i], strict=True):
            d = w * (theta - theta.coef[0])
            sine, cosine = d - cut(d**3) / 6.0, 1.0 - cut(d**2) / 2.0 + cut(d**4) / 24.0
            y = y + a * cut(np.sin(w * theta.coef[0] + phi) * cosine + np.cos(w * theta.coef[0] + phi) * sine)
        out[: len(y.coef), i] = y.coef * [1.0, 1.0, 2.0, 6.0, 24.0][: len(y.coef)]
    return out


@pytest.mark.parametrize("ramp_s", [1.5, 5.0])
@pytest.mark.parametrize("duration_s", [6.0, np.inf])
@pytest.mark.parametrize("count", [1, 2])
def test_derivatives_of_sines_are_those_of_their_taylor_polynomials(
    ramp_s: float, duration_s: float, count: int
) -> None:
    rng = np.random.default_rng(0)
    sines = Sines(
        *rng.uniform(-1.0, 1.0, (1, 4)),
        *rng.uniform(0.5, 3.0, (3, count, 4)),
        rng.normal(size=4),
        1.3,
        ramp_s,
        0.7,
        duration_s,
    )
    # also where the phase starts, is at speed, is over
    times = np.concatenate([rng.uniform(-1.0, 9.0, 100), [0.7, 2.2, 3.7, 5.2, 6.7]])
    expected = np.stack([taylor(sines, time) for time in times], axis=1)
    scale = 1.0 + np.abs(expected).max(axis=(1, 2), keepdims=True)
    assert np.allclose(sines.derivatives(times) / scale, expected / scale, rtol=0.0, atol=1e-12)


def test_without_a_compiler_sines_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sines, times = FigureEight(ABOVE, duration_s=7.0)._sines, np.linspace(-1.0, 9.0, 101)
    fast = sines.derivatives(times)
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    monkeypatch.setattr(code_cache, "_said", {"compiler"})
    slow = flight_module._sines.__wrapped__(1, 0)(times, sines._parameters)
    assert np.allclose(fast, slow, rtol=1e-12, atol=1e-12)


def test_two_threads_may_sample_at_once() -> None:
    eights = [FigureEight(ABOVE), FigureEight(-ABOVE)]
    times = np.linspace(0.0, 10.0, 2001)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda k: eights[k % 2].sample(times).q, range(20)))
    for k, q in enumerate(found):
        assert np.array_equal(q, eights[k % 2].sample(times).q)


def test_a_nose_along_the_path_unwinds_nothing_over_many_turns() -> None:
    circle = Circle(ABOVE, 1.0, 2.0)
    points = circle.sample(np.arange(4.0, 40.0, 0.01))
    assert np.all((points.q[1:, 3:] * points.q[:-1, 3:]).sum(-1) > 0.99)
    assert np.allclose(points.v[:, 5], 2.0 * np.cos(rotation.tilt(points.q[:, 3:])), atol=1e-9), (
        "turning about world z, felt about body z"
    )


def test_the_figure_eight_is_the_published_one_once_it_is_at_speed() -> None:
    eight = FigureEight(ABOVE, ramp_s=2.0)
    times = np.linspace(2.0, 12.0, 101)
    t = times - 1.0  # half of the ramp is lost
    expected = ABOVE + np.stack([1.25 * np.sin(t), 0 * t, 0.75 * np.sin(2 * t)], axis=1)
    assert np.allclose(eight.sample(times).q[:, :3], expected, atol=1e-12)


def test_flights_start_and_end_at_rest() -> None:
    for name in ("eight that ends", "circle facing north", "waypoints", "steps", "points"):
        for time in (0.0, 20.0):
            points = FLIGHTS[name].sample(np.array([time]))
            assert np.allclose(points.v, 0.0, atol=1e-9) and np.allclose(points.a[:, :3], 0.0, atol=1e-9), name


def test_minimum_snap_passes_through_its_points_and_is_six_times_differentiable() -> None:
    times = np.array([0.0, 0.7, 2.0, 2.9, 4.5])
    points = np.random.default_rng(0).standard_normal((5, 2))
    spline = minimum_snap(times, points)
    assert np.allclose(spline.derivatives(times, 0)[0], points, atol=1e-9)
    assert np.allclose(spline.derivatives(times[[0, -1]], 3)[1:], 0.0, atol=1e-8)
    left, right = spline.derivatives(times[1:-1] - 1e-9, 6), spline.derivatives(times[1:-1] + 1e-9, 6)
    scale = np.abs(right).max(axis=(1, 2), keepdims=True)
    assert np.allclose(left / scale, right / scale, atol=1e-6), (
        "the free derivatives at a knot make the next ones continuous"
    )


def test_no_other_curve_through_the_same_points_has_less_snap() -> None:
    times, points, rng = (
        np.array([0.0, 1.0, 1.6, 3.0]),
        np.array([[0.0], [1.0], [-0.5], [0.3]]),
        np.random.default_rng(0),
    )
    fine = np.linspace(0.0, 3.0, 30_001)

    def cost(velocities: np.ndarray | None, accelerations: np.ndarray | None) -> float:
        snap = minimum_snap(times, points, velocities, accelerations).derivatives(fine, 4)[4]
        return float(np.trapezoid(snap[:, 0] ** 2, fine))

    _, velocity, acceleration = minimum_snap(times, points).derivatives(times, 2)
    least = cost(None, None)
    assert np.isclose(cost(velocity, acceleration), least, rtol=1e-6)
    for _ in range(10):
        other = np.zeros((2, 4, 1))
        other[:, 1:-1] = 0.01 * rng.standard_normal((2, 2, 1))
        assert cost(velocity + other[0], acceleration + other[1]) > least


def test_a_spline_of_many_points_of_another_flight_is_that_flight() -> None:
    times = np.linspace(0.0, 9.0, 91)
    truth = FLIGHTS["eight that ends"].sample(times)
    yaw = rotation.yaw(truth.q[:, 3:])
    between = np.linspace(0.0, 9.0, 1001)
    expected = FLIGHTS["eight that ends"].sample(between)
    for derivatives in ((None, None), (truth.v[:, :3], None), (truth.v[:, :3], truth.a[:, :3])):
        found = FlatSpline(times, truth.q[:, :3], yaw, *derivatives).sample(between)
        assert np.allclose(found.q[:, :3], expected.q[:, :3], atol=1e-6)
        assert np.allclose(found.a[:, :3], expected.a[:, :3], atol=5e-3)


def test_a_single_point_is_a_hover() -> None:
    points = FlatSpline(np.array([1.0]), ABOVE[None], np.array([0.5])).sample(np.array([0.0, 1.0, 2.0]))
    assert np.allclose(points.q, Hover(ABOVE, 0.5).sample(np.zeros(3)).q)
    assert not points.v.any() and not points.a.any()


@pytest.mark.parametrize("speed", [0.5, 2.0, 5.0])
def test_waypoints_at_a_top_speed(speed: float) -> None:
    flight = MinimumSnap(CORNERS, speed_m_s=speed)
    velocity = flight.sample(np.linspace(0.0, flight.times[-1], 5001)).v[:, :3]
    assert np.isclose(np.linalg.norm(velocity, axis=1).max(), speed, rtol=1e-3)


def test_steps_keep_to_their_limits_and_a_jump_during_another_waits() -> None:
    limits = (2.0, 3.0, 20.0, 300.0)
    steps = Steps(np.array([0.0, 1.0, 1.2]), np.array([[0.0, 0.0, 2.0], [4.0, 0.0, 2.0], [4.0, 0.1, 2.0]]), limits)
    times = np.linspace(0.0, 8.0, 8001)
    flat = steps.flat(times)
    peaks = [
        np.linalg.norm(values, axis=1).max() for values in (flat.velocity, flat.acceleration, flat.jerk, flat.snap)
    ]
    assert np.all(np.array(peaks) <= np.array(limits) * (1 + 1e-9))
    assert np.isclose(peaks[0], 2.0, rtol=1e-3), "the long jump is as fast as it may be"
    assert np.allclose(flat.position[-1], [4.0, 0.1, 2.0])
    assert not np.any((np.abs(flat.velocity[:, 0]) > 1e-6) & (np.abs(flat.velocity[:, 1]) > 1e-6))


@pytest.mark.parametrize(
    ("name", "flight", "what"),
    [
        ("x500", Circle(ABOVE, 1.0, 8.0, ramp_s=6.0), "tilt|thrust of 'rotor"),
        ("x500", FigureEight(ABOVE, rate_rad_s=4.0), "thrust of 'rotor"),
        ("x500", FigureEight(ABOVE, size_m=(0.0, 0.75), rate_rad_s=3.0), "thrust of 'rotor"),
        ("hummingbird", Circle(ABOVE, 1.0, 6.0), "tilt"),
        ("crazyflie", Circle(ABOVE, 6.0, 6.0, ramp_s=6.0), "speed"),
        ("x500", TURNING, "rate about body z"),
    ],
)
def test_what_cannot_be_flown_is_named(name: str, flight: FlatTrajectory, what: str) -> None:
    with pytest.raises(SignalError, match=rf"reference: ({what}).* at [\d.]+ s; {name} allows"):
        check_flight(robot(name), flight, 0.0, 12.0)


@pytest.mark.parametrize("name", ["x500", "hummingbird", "crazyflie"])
def test_what_can_be_flown_is_accepted_and_usage_says_so(name: str) -> None:
    check_flight(robot(name), FigureEight(ABOVE), 0.0, 12.0)
    check_flight(robot(name), Shifted(FigureEight(ABOVE), 5.0), 3.0, 12.0)
    assert usage(robot(name), FigureEight(ABOVE), 0.0, 12.0) <= 1.0
    assert usage(robot(name), FigureEight(ABOVE, rate_rad_s=9.0), 0.0, 12.0) > 1.0


@pytest.mark.parametrize("name", ["x500", "hummingbird", "crazyflie"])
def test_what_a_flight_needs_is_what_moves_the_rigid_body(name: str) -> None:
    points = FLIGHTS["random sines"].sample(np.linspace(0.0, 10.0, 1001))
    thrusts, tilt, speed, rates = np.split(_needs(robot(name), points), [4, 5, 6], axis=1)
    force = np.linalg.norm(points.a[:, :3] + np.array([0.0, 0.0, GRAVITY_M_S2]), axis=1) * robot(name).mass_kg
    inertia, rate = robot(name).inertia, points.v[:, 3:]
    torque = points.a[:, 3:] @ inertia + np.cross(rate, rate @ inertia)
    assert np.allclose(
        thrusts @ robot(name).allocation.T, np.column_stack([force, torque]), rtol=1e-12, atol=1e-12 * force.max()
    )
    assert np.allclose(tilt[:, 0], rotation.tilt(points.q[:, 3:]), rtol=1e-12, atol=1e-12)
    assert np.allclose(speed[:, 0], np.linalg.norm(points.v[:, :3], axis=1), rtol=1e-12) and np.array_equal(rates, rate)


def test_less_of_the_thrust_may_be_asked_for() -> None:
    check_flight(robot(), FigureEight(ABOVE, rate_rad_s=1.4), 0.0, 12.0)
    with pytest.raises(SignalError, match="thrust"):
        check_flight(robot(), FigureEight(ABOVE, rate_rad_s=1.4), 0.0, 12.0, thrust_share=0.8)


class _Broken:
    """A reference with something wrong."""

    def __init__(self, q: np.ndarray, size: int = 6) -> None:
        self._q, self._size = q, size

    def sample(self, times: np.ndarray) -> Setpoints:
        zero = np.zeros((len(times), self._size))
        return Setpoints(np.tile(self._q, (len(times), 1)), zero, zero)


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        (
            _Broken(np.array([0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0]), 3),
            r"velocity has shape \(201, 3\); x500 needs \(201, 6\)",
        ),
        (_Broken(np.array([0.0, np.nan, 2.0, 1.0, 0.0, 0.0, 0.0])), "pose holds a value that is not finite"),
        (_Broken(np.array([0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.2])), "quaternion of norm 1.0198"),
    ],
)
def test_a_malformed_reference_is_refused(reference: _Broken, what: str) -> None:
    with pytest.raises(SignalError, match=what):
        check_flight(robot(), reference, 0.0, 1.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FlatSpline(np.array([0.0, 0.0]), CORNERS[:2]),
        lambda: FlatSpline(np.array([0.0, 1.0]), CORNERS[:2, :2]),
        lambda: FlatSpline(np.array([0.0, 1.0]), CORNERS[:2], velocities=np.full((2, 3), np.inf)),
        lambda: FlatSpline(np.array([0.0, 1.0]), CORNERS[:2], yaw=np.zeros(3)),
        lambda: MinimumSnap(CORNERS),
        lambda: MinimumSnap(CORNERS, speed_m_s=0.0),
        lambda: MinimumSnap(CORNERS[[0, 1, 1]], speed_m_s=1.0),
    ],
)
def test_malformed_points_are_refused_when_given(make: object) -> None:
    assert callable(make)
    with pytest.raises(SignalError):
        make()


@pytest.mark.parametrize("name", ["x500", "hummingbird", "crazyflie"])
def test_random_flights_are_lively_feasible_and_repeatable(name: str) -> None:
    flights = [random_flight(robot(name), np.random.default_rng(seed), 8.0) for seed in range(10)]
    speeds = []
    for seed, flight in enumerate(flights):
        check_flight(robot(name), flight, 0.0, 8.0, thrust_share=0.86)  # sampled twice as densely as when it was slowed
        points = flight.sample(np.linspace(0.0, 8.0, 801))
        speeds.append(np.linalg.norm(points.v[:, :3], axis=1).max())
        again = random_flight(robot(name), np.random.default_rng(seed), 8.0).sample(np.array([3.3]))
        assert np.array_equal(again.q, flight.sample(np.array([3.3])).q)
    assert 1.0 < np.median(speeds) < 5.0


def test_slowed_leaves_alone_what_can_be_flown() -> None:
    eight = FigureEight(ABOVE)
    assert slowed(robot(), eight, 10.0) is eight
    fast = FigureEight(ABOVE, rate_rad_s=5.0)
    slower = slowed(robot(), fast, 10.0)
    assert usage(robot(), slower, 0.0, 10.0) <= 1.0 < usage(robot(), fast, 0.0, 10.0)


def test_a_pace_is_the_first_at_which_all_moments_can_be_flown() -> None:
    for rate in (1.0, 1.5, 2.0, 3.0):
        fast, pace = FigureEight(ABOVE, rate_rad_s=rate), 1.0
        while usage(robot(), Paced(fast, pace), 0.0, 7.0) > 1.0:
            pace *= 0.9
        assert getattr(slowed(robot(), fast, 7.0), "pace", 1.0) == pace


def test_the_shortest_flight_can_be_slowed() -> None:
    eight = FigureEight(ABOVE)
    assert slowed(robot(), eight, 0.0) is eight and slowed(robot(), eight, 0.02) is eight


def test_a_drawn_flight_is_the_random_one_and_needs_no_more_random_numbers() -> None:
    for seed in range(4):
        rng, other = np.random.default_rng(seed), np.random.default_rng(seed)
        make, times = drawn_flight(robot(), rng, 8.0), np.linspace(0.0, 8.0, 101)
        state = rng.bit_generator.state
        assert np.array_equal(make().sample(times).q, random_flight(robot(), other, 8.0).sample(times).q)
        assert rng.bit_generator.state == state == other.bit_generator.state


def test_a_pace_scales_every_derivative() -> None:
    flat = FlatPoints(*(np.asarray(values) for values in Paced(FigureEight(ABOVE), 0.5).flat(np.array([8.0]))))
    full = FigureEight(ABOVE).flat(np.array([4.0]))
    assert np.allclose(flat.position, full.position) and np.allclose(flat.snap, full.snap / 16)
