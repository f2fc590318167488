# SPDX-License-Identifier: Apache-2.0
"""References: derivatives are those of the position, limits hold by construction, impossible ones are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Setpoints
from metarl_robot.trajectories.euclidean import (
    EXCITATION,
    TRACKING,
    MultiSine,
    Waypoints,
    check_reference,
    random_excitation,
    random_moves,
    random_sines,
    random_tracking,
)
from metarl_robot.trajectories.shifted import Shifted
from metarl_robot.trajectories.splines import Hold, Spline, from_points

RNG = np.random.default_rng(0)
TIMES = np.array([0.0, 0.7, 1.5, 2.0, 3.0])
POINTS, SPEEDS, RATES = (RNG.normal(size=(5, 2)) for _ in range(3))
SINES = MultiSine(
    np.array([0.1, -0.2]), np.full((2, 2), 0.3), np.array([[0.4, 0.7], [1.1, 0.2]]), np.full((2, 2), 0.5), 0.0, 3.0, 0.5
)
SMOOTH = {
    "hold": Hold(np.array([0.1, 0.2])),
    "waypoints": Waypoints(TIMES, POINTS),
    "quintic": from_points(TIMES, POINTS, SPEEDS, RATES),
    "sines": SINES,
    "shifted": Shifted(SINES, -0.4),
}
CUBIC = {"cubic": from_points(TIMES, POINTS, SPEEDS), "positions": from_points(TIMES, POINTS)}


@pytest.mark.parametrize("name", [*SMOOTH, *CUBIC])
def test_velocity_and_acceleration_are_derivatives(name: str) -> None:
    reference = (SMOOTH | CUBIC)[name]
    h, times = 1e-5, np.linspace(0.013, 2.987, 96)  # between the knots: a cubic's acceleration jumps there
    before, now, after = (reference.sample(times + d) for d in (-h, 0.0, h))
    np.testing.assert_allclose((after.q - before.q) / (2 * h), now.v, atol=1e-6)
    np.testing.assert_allclose((after.v - before.v) / (2 * h), now.a, atol=1e-5 * (1 + np.abs(now.a).max()))


def test_sines_are_their_formula() -> None:
    times = np.concatenate([np.random.default_rng(0).uniform(-0.5, 3.5, 200), [0.0, 0.5, 1.5, 2.5, 3.0]])
    now, since = SINES.sample(times), times[:, None]
    x, sign = np.clip(np.minimum(since, 3.0 - since) / 0.5, 0.0, 1.0), np.where(since < 1.5, 1.0, -1.0)
    e, de, dde = (
        x**3 * (10 - 15 * x + 6 * x**2),
        30 * x**2 * (1 - x) ** 2 * sign / 0.5,
        60 * x * (1 - x) * (1 - 2 * x) / 0.5**2,
    )
    w = 2 * np.pi * SINES.frequency_hz
    angle = since[:, None] * w + SINES.phase
    y, dy = (SINES.amplitude * np.sin(angle)).sum(1), (SINES.amplitude * w * np.cos(angle)).sum(1)
    ddy = -(SINES.amplitude * w**2 * np.sin(angle)).sum(1)
    np.testing.assert_allclose(now.q, SINES.centre + e * y, atol=1e-12)
    np.testing.assert_allclose(now.v, de * y + e * dy, atol=1e-12)
    np.testing.assert_allclose(now.a, dde * y + 2 * de * dy + e * ddy, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_acceleration_is_continuous(name: str) -> None:
    a = SMOOTH[name].sample(np.arange(0.001, 2.999, 1e-4)).a
    assert np.abs(np.diff(a, axis=0)).max() < 0.01 * (1.0 + np.abs(a).max())


def test_spline_meets_its_points() -> None:
    for reference, accelerations in (
        (from_points(TIMES, POINTS, SPEEDS, RATES), RATES),
        (from_points(TIMES, POINTS, SPEEDS), None),
    ):
        at = reference.sample(TIMES)
        np.testing.assert_allclose(at.q, POINTS, atol=1e-12)
        np.testing.assert_allclose(at.v, SPEEDS, atol=1e-12)
        if accelerations is not None:
            np.testing.assert_allclose(at.a, accelerations, atol=1e-11)


def test_spline_stands_still_outside_its_knots() -> None:
    reference = from_points(TIMES, POINTS, SPEEDS, RATES)
    outside = reference.sample(np.array([-1.0, 4.0]))
    np.testing.assert_allclose(outside.q, POINTS[[0, -1]], atol=1e-12)
    assert not np.any(outside.v) and not np.any(outside.a)


def test_positions_alone_never_overshoot() -> None:
    dense = from_points(TIMES, POINTS).sample(np.linspace(0.0, 3.0, 1000))
    for k in range(len(TIMES) - 1):
        inside = (np.linspace(0.0, 3.0, 1000) >= TIMES[k]) & (np.linspace(0.0, 3.0, 1000) <= TIMES[k + 1])
        assert np.all(dense.q[inside] >= np.minimum(POINTS[k], POINTS[k + 1]) - 1e-12)
        assert np.all(dense.q[inside] <= np.maximum(POINTS[k], POINTS[k + 1]) + 1e-12)


def test_single_point_is_a_hold() -> None:
    at = from_points([1.0], [[0.3, 0.4]]).sample(np.array([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(at.q, np.tile([0.3, 0.4], (3, 1)))
    assert not np.any(at.v)


def test_waypoints_and_sines_start_and_end_at_rest() -> None:
    for reference, ends in ((SMOOTH["waypoints"], TIMES), (SINES, np.array([0.0, 3.0]))):
        at = reference.sample(ends)
        np.testing.assert_allclose(at.v, 0.0, atol=1e-12)
        np.testing.assert_allclose(at.a, 0.0, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([0.0, 0.0], [[0.0], [1.0]]), "increase"),
        (([0.0, np.nan], [[0.0], [1.0]]), "finite"),
        (([0.0], [0.0]), "shapes"),
        (([], np.zeros((0, 2))), "shapes"),
        (([0.0, 1.0], [[0.0], [np.inf]]), "positions hold"),
        (([0.0, 1.0], [[0.0], [1.0]], [[0.0]]), "velocities have shape"),
        (([0.0, 1.0], [[0.0], [1.0]], None, [[0.0], [0.0]]), "without velocities"),
    ],
)
def test_malformed_points_are_refused(arguments: tuple, says: str) -> None:
    with pytest.raises(SignalError, match=says):
        from_points(*arguments)


@pytest.mark.parametrize("name", ["planar2", "panda"])
@pytest.mark.parametrize("draw", [random_tracking, random_excitation])
@pytest.mark.parametrize("seed", range(8))
def test_random_motions_are_feasible_lively_and_reproducible(name: str, draw, seed: int) -> None:
    robot = load_robot(name)
    reference = draw(robot, np.random.default_rng(seed), 12.0)
    check_reference(robot, reference, 0.0, 11.0)
    times = np.arange(0.0, 10.0, 0.01)
    points = reference.sample(times)
    np.testing.assert_array_equal(points.q, draw(robot, np.random.default_rng(seed), 12.0).sample(times).q)
    assert np.abs(points.v).max() > 0.25  # somewhere a joint really moves
    assert np.abs(points.v).max(1)[100:].mean() > 0.15  # and goes on moving


def test_sines_that_would_be_too_fast_are_smaller_and_others_as_they_are() -> None:
    times = np.arange(0.0, 3.0, 0.005)
    peak = np.abs(SINES.sample(times).v).max(0)
    found = replace(SINES, fastest=peak * [0.5, 2.0]).sample(times)
    np.testing.assert_allclose(np.abs(found.v).max(0), peak * [0.5, 1.0], rtol=1e-12)
    np.testing.assert_array_equal(found.q[:, 1], SINES.sample(times).q[:, 1])


@pytest.mark.parametrize("kind", [random_sines, random_moves])
@pytest.mark.parametrize("motion", [TRACKING, EXCITATION])
def test_random_motions_keep_to_their_range(kind, motion) -> None:
    robot = load_robot("panda")
    for seed in range(10):
        v = kind(robot, np.random.default_rng(seed), 10.0, motion).sample(np.arange(0.0, 10.0, 0.005)).v
        assert np.all(np.abs(v).max(0) <= 1.001 * motion.speed[1] * robot.velocity_limit)


def test_calmer_motion_is_slower() -> None:
    robot = load_robot("panda")
    speeds = [
        np.abs(random_moves(robot, np.random.default_rng(3), 10.0, m).sample(np.arange(0, 10, 0.01)).v).max()
        for m in (TRACKING, TRACKING.calmer(0.5))
    ]
    assert speeds[1] < 0.8 * speeds[0]


class _Broken:
    """A reference that goes wrong in one value."""

    def __init__(self, dof: int, q: float = 0.0, v: float = 0.0) -> None:
        self.dof, self.value_q, self.value_v = dof, q, v

    def sample(self, times: np.ndarray) -> Setpoints:
        q, v, a = (np.zeros((len(times), self.dof)) for _ in range(3))
        q[-1, -1], v[-1, -1] = self.value_q, self.value_v
        return Setpoints(q, v, a)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (_Broken(3), "3 joints; planar2 has 2"),
        (_Broken(2, q=np.nan), "position of joint 'elbow' is not finite"),
        (_Broken(2, v=np.inf), "velocity of joint 'elbow' is not finite"),
        (_Broken(2, q=2.7), r"position of joint 'elbow' reaches 2\.7.*allowed: \[-2\.6000, 2\.6000\] rad"),
        (_Broken(2, v=-6.1), r"velocity of joint 'elbow' reaches -6\.1.*allowed: \[-6\.0000, 6\.0000\] rad/s"),
    ],
)
def test_what_cannot_be_followed_is_refused(reference, says: str) -> None:
    with pytest.raises(SignalError, match=says):
        check_reference(load_robot("planar2"), reference, 0.0, 1.0)


def test_a_limit_may_be_touched() -> None:
    check_reference(load_robot("planar2"), _Broken(2, q=2.6, v=6.0), 0.0, 1.0)


def test_cubic_overshoot_between_points_is_refused() -> None:
    inside_at_points = from_points([0.0, 1.0], [[2.9, 0.0], [2.9, 0.0]], [[2.0, 0.0], [-2.0, 0.0]])
    assert isinstance(inside_at_points, Spline)
    with pytest.raises(SignalError, match="shoulder"):
        check_reference(load_robot("planar2"), inside_at_points, 0.0, 1.0)


def test_times_that_do_not_increase_are_refused_by_the_points_and_the_rule() -> None:
    with pytest.raises(SignalError, match=r"points 1 and 2 are at 0\.5 s and 0\.5 s.*time_from_start"):
        from_points([0.0, 0.5, 0.5], POINTS[:3])
    with pytest.raises(SignalError, match="points 0 and 1 are at 0 s and 0 s.*time_from_start"):
        from_points([0.0, 0.0, 0.0], POINTS[:3])


def test_a_point_without_velocity_takes_the_interpolations_and_one_with_it_keeps_its_own() -> None:
    last = np.full((5, 2), np.nan)
    last[-1] = SPEEDS[-1]
    at = from_points(TIMES, POINTS, last).sample(TIMES)
    np.testing.assert_allclose(at.q, POINTS, atol=1e-12)
    np.testing.assert_allclose(at.v[-1], SPEEDS[-1], atol=1e-12)
    np.testing.assert_allclose(at.v[:-1], from_points(TIMES, POINTS).sample(TIMES).v[:-1], atol=1e-12)


def test_a_segment_is_a_quintic_where_both_its_ends_have_accelerations() -> None:
    rates = RATES.copy()
    rates[3:] = np.nan
    some, whole, none = (from_points(TIMES, POINTS, SPEEDS, a) for a in (rates, RATES, None))
    early, late = np.array([0.3, 1.0, 1.7]), np.array([2.1, 2.9])
    early = early[early < TIMES[2]]
    np.testing.assert_allclose(some.sample(early).q, whole.sample(early).q, atol=1e-12)
    np.testing.assert_allclose(some.sample(late).q, none.sample(late).q, atol=1e-12)
