"""Taking over references in motion: no jump, no broken limit, the old one kept when the new one is refused."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.course import Outputs
from metarl_robot.errors import SignalError
from metarl_robot.reference import check_reference, random_tracking
from metarl_robot.reference_keeper import ReferenceKeeper
from metarl_robot.robot import load_robot
from metarl_robot.signals import Reference

ROBOT = load_robot("planar2")


def jump(reference: Reference, time_s: float, before: Reference) -> float:
    """Largest gap in position, velocity and acceleration between `before` and `reference` at time_s."""
    a, b = before.sample(np.array([time_s])), reference.sample(np.array([time_s]))
    return max(np.abs(x - y).max() for x, y in ((a.q, b.q), (a.v, b.v), (a.a, b.a)))


def chunk(reference: Reference, start_s: float, stop_s: float) -> tuple[np.ndarray, Outputs]:
    times = np.arange(round(start_s * 50), round(stop_s * 50) + 1) * 0.02
    points = reference.sample(times)
    return times, Outputs(points.q, points.v, points.a)


def test_it_starts_with_none_and_holds_when_told() -> None:
    keeper = ReferenceKeeper(ROBOT)
    assert keeper.current is None
    keeper.hold(ROBOT.home)
    assert keeper.current is not None and np.array_equal(keeper.current.sample(np.array([7.0])).q[0], ROBOT.home)


@pytest.mark.parametrize("seed", range(5))
def test_a_new_reference_is_joined_without_a_jump_and_within_limits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keeper = ReferenceKeeper(ROBOT)
    keeper.hold(ROBOT.home)
    for now in (1.0, 1.3, 2.7, 4.0):
        before = keeper.current
        assert before is not None
        keeper.offer(*chunk(random_tracking(ROBOT, rng, 12.0), now, now + 5.0), now)
        assert keeper.current is not None and jump(keeper.current, now, before) < 1e-9
        check_reference(ROBOT, keeper.current, now, 4.0)


def test_a_new_reference_is_followed_exactly_once_it_is_reached() -> None:
    motion = random_tracking(ROBOT, np.random.default_rng(3), 12.0)
    keeper = ReferenceKeeper(ROBOT)
    keeper.hold(ROBOT.home)
    keeper.offer(*chunk(motion, 1.0, 9.0), 1.0)
    times = np.arange(8.0, 8.5, 0.02)
    assert keeper.current is not None and np.allclose(keeper.current.sample(times).q, motion.sample(times).q, atol=1e-9)


def test_it_does_not_matter_when_chunks_of_one_motion_come() -> None:
    motion = random_tracking(ROBOT, np.random.default_rng(4), 12.0)
    early, late = ReferenceKeeper(ROBOT), ReferenceKeeper(ROBOT)
    for keeper, starts in ((early, (0.0, 0.2, 1.0, 2.0)), (late, (0.0, 0.1, 1.6))):
        keeper.hold(ROBOT.home)  # somewhere else: there is a way to go, and chunks come while it is gone
        for start in starts:
            keeper.offer(*chunk(motion, start, start + 4.0), start)
    times = 2.0 + np.arange(400) * 0.005
    assert early.current is not None and np.abs(motion.sample(np.zeros(1)).q[0] - ROBOT.home).max() > 0.01
    assert early.current is not None and late.current is not None
    a, b = early.current.sample(times), late.current.sample(times)
    assert np.allclose(a.q, b.q, atol=1e-12) and np.allclose(a.v, b.v, atol=1e-11) and np.allclose(a.a, b.a, atol=1e-8)


def test_a_future_reference_begins_when_it_says() -> None:
    keeper = ReferenceKeeper(ROBOT)
    keeper.hold(ROBOT.home)
    target = ROBOT.home + 0.3
    keeper.offer(np.array([5.0, 6.0]), Outputs(np.array([ROBOT.home, target]), np.zeros((2, 2)), np.zeros((2, 2))), 1.0)
    assert keeper.current is not None
    points = keeper.current.sample(np.array([1.0, 4.9, 6.5]))
    assert np.allclose(points.q[:2], ROBOT.home) and np.allclose(points.q[2], target)


@pytest.mark.parametrize(
    ("q", "why"),
    [
        (np.array([[0.5, 1.0], [5.0, 1.0]]), r"shoulder.*\[-3\.0000, 3\.0000\]"),
        (np.array([[0.5, 1.0], [np.nan, 1.0]]), "finite"),
        (np.array([[0.5], [0.6]]), "joints"),
        (np.array([[0.5, 1.0], [-2.5, 1.0]]), "velocity of joint 'shoulder'"),
    ],
)
def test_a_bad_reference_is_refused_and_the_old_one_kept(q: np.ndarray, why: str) -> None:
    keeper = ReferenceKeeper(ROBOT)
    keeper.hold(ROBOT.home)
    before = keeper.current
    with pytest.raises(SignalError, match=why):
        keeper.offer(np.array([1.0, 1.1]), Outputs(q, None, None), 1.0)
    assert keeper.current is before


def test_a_reference_that_is_over_is_refused() -> None:
    keeper = ReferenceKeeper(ROBOT)
    with pytest.raises(SignalError, match=r"ended at 2\.000 s; it is 3\.000 s now"):
        keeper.offer(np.array([1.0, 2.0]), Outputs(np.tile(ROBOT.home, (2, 1)), None, None), 3.0)
