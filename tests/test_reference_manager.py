# SPDX-License-Identifier: Apache-2.0
"""Taking over references in motion: no jump, no broken limit, the old one kept when the new one is refused."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Reference, Setpoints, State
from metarl_robot.trajectories.euclidean import check_reference, random_tracking
from metarl_robot.trajectories.euclidean_outputs import STANDING_RAD_S
from metarl_robot.trajectories.flat_outputs import Outputs, flat_outputs_of
from metarl_robot.trajectories.reference_manager import ReferenceManager

ROBOT = load_robot("planar2")
MOVING = {"arm": "excitation", "quadrotor": "figure_eight"}


def jump(reference: Reference, time_s: float, before: Reference) -> float:
    """Largest gap in position, velocity and acceleration between `before` and `reference` at time_s."""
    a, b = before.sample(np.array([time_s])), reference.sample(np.array([time_s]))
    return max(np.abs(x - y).max() for x, y in ((a.q, b.q), (a.v, b.v), (a.a, b.a)))


def chunk(reference: Reference, start_s: float, stop_s: float) -> tuple[np.ndarray, Outputs]:
    times = np.arange(round(start_s * 50), round(stop_s * 50) + 1) * 0.02
    points = reference.sample(times)
    return times, Outputs(points.q, points.v, points.a)


def test_it_starts_with_none_and_holds_when_told() -> None:
    references = ReferenceManager(ROBOT)
    assert references.current is None
    references.hold(ROBOT.home)
    assert references.current is not None and np.array_equal(
        references.current.sample(np.array([7.0])).q[0], ROBOT.home
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_new_reference_is_joined_without_a_jump_and_within_limits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    references = ReferenceManager(ROBOT)
    references.hold(ROBOT.home)
    for now in (1.0, 1.3, 2.7, 4.0):
        before = references.current
        assert before is not None
        references.offer(*chunk(random_tracking(ROBOT, rng, 12.0), now, now + 5.0), now)
        assert references.current is not None and jump(references.current, now, before) < 1e-9
        check_reference(ROBOT, references.current, now, 4.0)


def test_a_new_reference_is_followed_exactly_once_it_is_reached() -> None:
    motion = random_tracking(ROBOT, np.random.default_rng(3), 12.0)
    references = ReferenceManager(ROBOT)
    references.hold(ROBOT.home)
    references.offer(*chunk(motion, 1.0, 9.0), 1.0)
    times = np.arange(8.0, 8.5, 0.02)
    assert references.current is not None and np.allclose(
        references.current.sample(times).q, motion.sample(times).q, atol=1e-9
    )


def test_it_does_not_matter_when_chunks_of_one_motion_come() -> None:
    motion = random_tracking(ROBOT, np.random.default_rng(4), 12.0)
    early, late = ReferenceManager(ROBOT), ReferenceManager(ROBOT)
    for references, starts in ((early, (0.0, 0.2, 1.0, 2.0)), (late, (0.0, 0.1, 1.6))):
        references.hold(ROBOT.home)  # somewhere else: there is a way to go, and chunks come while it is gone
        for start in starts:
            references.offer(*chunk(motion, start, start + 4.0), start)
    times = 2.0 + np.arange(400) * 0.005
    assert early.current is not None and np.abs(motion.sample(np.zeros(1)).q[0] - ROBOT.home).max() > 0.01
    assert early.current is not None and late.current is not None
    a, b = early.current.sample(times), late.current.sample(times)
    assert np.allclose(a.q, b.q, atol=1e-12) and np.allclose(a.v, b.v, atol=1e-11) and np.allclose(a.a, b.a, atol=1e-8)


def test_a_future_reference_begins_when_it_says() -> None:
    references = ReferenceManager(ROBOT)
    references.hold(ROBOT.home)
    target = ROBOT.home + 0.3
    references.offer(
        np.array([5.0, 6.0]), Outputs(np.array([ROBOT.home, target]), np.zeros((2, 2)), np.zeros((2, 2))), 1.0
    )
    assert references.current is not None
    points = references.current.sample(np.array([1.0, 4.9, 6.5]))
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
    references = ReferenceManager(ROBOT)
    references.hold(ROBOT.home)
    before = references.current
    with pytest.raises(SignalError, match=why):
        references.offer(np.array([1.0, 1.1]), Outputs(q, None, None), 1.0)
    assert references.current is before


def test_a_reference_that_is_over_is_refused() -> None:
    references = ReferenceManager(ROBOT)
    with pytest.raises(SignalError, match=r"ended at 2\.000 s; it is 3\.000 s now"):
        references.offer(np.array([1.0, 2.0]), Outputs(np.tile(ROBOT.home, (2, 1)), None, None), 3.0)


PANDA = load_robot("panda")


def held(robot: Robot, q: np.ndarray) -> ReferenceManager:
    references = ReferenceManager(robot)
    references.hold(q)
    return references


def followed(references: ReferenceManager, times: np.ndarray) -> Setpoints:
    assert references.current is not None
    return references.current.sample(times)


@pytest.mark.parametrize("robot", [PANDA, load_robot("x500")], ids=lambda robot: robot.name)
def test_a_motion_that_is_over_by_less_than_two_periods_is_late_and_its_end_is_held(robot: Robot) -> None:
    references = held(robot, robot.home)
    y = flat_outputs_of(robot).outputs(references.current, np.zeros(1)).positions
    times = np.array([0.990, 0.995])
    taken = references.offer(times, Outputs(np.concatenate([y, y]), None, None), 1.0)
    assert taken.remarks == ("late by 5 ms: its end is held",)
    assert np.allclose(flat_outputs_of(robot).outputs(references.current, np.array([5.0])).positions, y, atol=1e-9)
    with pytest.raises(SignalError, match="it ended at"):
        references.offer(times, Outputs(np.concatenate([y, y]), None, None), 0.996 + 2 * robot.control_period_s)


def timed_at_the_limit(start: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, Outputs]:
    """A move of all joints along a sine of speed up to 100 % of a limit, sampled each 0.1 s, as a planner's time
    parameterisation.
    """
    direction = (
        rng.uniform(0.3, 1.0, 7) * np.sign(PANDA.home - 0.5 * (PANDA.position_lower + PANDA.position_upper)) * -1.0
    )
    way = 0.25 * direction * (PANDA.position_upper - PANDA.position_lower)
    # duration at which the fastest joint reaches its limit
    speed = np.max(np.pi / 2 * np.abs(way) / PANDA.velocity_limit)
    times = np.append(np.arange(0.0, speed, 0.1), speed)
    phase = np.pi * times / speed
    rate = np.pi / speed
    columns = (0.5 - 0.5 * np.cos(phase), 0.5 * rate * np.sin(phase))
    q, v = (np.outer(column, way) for column in columns)
    return times, Outputs(start + q, v, None)


@pytest.mark.parametrize("seed", range(6))
def test_a_plan_at_full_speed_that_exceeds_it_between_points_is_slowed_by_as_much(seed: int) -> None:
    times, points = timed_at_the_limit(PANDA.home, np.random.default_rng(seed))
    assert points.velocities is not None
    excess = 1.0 + 0.002 * (seed + 1)  # TOTG and TOPP-RA were seen to exceed by up to 1.9 %
    references = held(PANDA, PANDA.home)
    taken = references.offer(1.0 + times / excess, Outputs(points.positions, excess * points.velocities, None), 1.0)
    assert len(taken.remarks) == 1 and "slowed by" in taken.remarks[0]
    dense = np.arange(1.0, taken.ends_s, 0.002)
    assert np.all(np.abs(followed(references, dense).v) <= PANDA.velocity_limit + 1e-9)
    assert 0.0 < taken.ends_s - 1.0 - times[-1] / excess < 0.03 * times[-1]
    assert np.allclose(followed(references, np.array([taken.ends_s])).q[0], points.positions[-1])


def test_a_plan_that_is_much_too_fast_is_refused() -> None:
    times, points = timed_at_the_limit(PANDA.home, np.random.default_rng(0))
    assert points.velocities is not None
    with pytest.raises(SignalError, match="velocity of joint"):
        held(PANDA, PANDA.home).offer(1.0 + times / 1.1, Outputs(points.positions, 1.1 * points.velocities, None), 1.0)


def test_a_robot_outside_its_limits_may_come_back_and_not_go_farther() -> None:
    outside = PANDA.home.copy()
    outside[3] = PANDA.position_upper[3] + 0.03  # joint 4 at -0.04 where -0.07 is allowed
    for start in (outside, PANDA.home):  # a plan from where it is, and one that begins inside
        references = held(PANDA, outside)
        references.offer(np.array([1.0, 4.0]), Outputs(np.stack([start, PANDA.home]), None, None), 1.0)
        way = followed(references, np.arange(1.0, 6.0, 0.005)).q[:, 3]
        assert way.max() <= outside[3] + 1e-9 and np.isclose(way[-1], PANDA.home[3])
    farther = outside.copy()
    farther[3] += 0.05
    with pytest.raises(SignalError, match="position of joint"):
        held(PANDA, outside).offer(np.array([1.0, 4.0]), Outputs(np.stack([outside, farther]), None, None), 1.0)
    with pytest.raises(SignalError, match="position of joint"):  # a robot inside has no such leave
        held(PANDA, PANDA.home).offer(np.array([1.0, 4.0]), Outputs(np.stack([PANDA.home, outside]), None, None), 1.0)


def test_joints_that_a_trajectory_does_not_have_stay_where_they_are() -> None:
    start = PANDA.home + 0.1 * np.array([1, -1, 1, 0, 1, 1, -1])
    references = held(PANDA, start)
    q = np.full((2, 7), np.nan)
    q[:, 6] = start[6] + np.array([0.0, 0.4])
    references.offer(np.array([1.0, 3.0]), Outputs(q, None, None), 1.0)
    at = followed(references, np.array([1.0, 2.0, 5.0])).q
    assert np.allclose(at[:, :6], start[:6]) and np.isclose(at[-1, 6], start[6] + 0.4)


@pytest.mark.parametrize("name", ["panda", "planar2", "x500"])
def test_a_motion_that_moves_at_its_end_is_braked_without_a_jump_and_within_limits(name: str) -> None:
    robot = load_robot(name)
    flat = flat_outputs_of(robot)
    whole = flat.motion("tracking" if robot.kind == "arm" else "circle", np.random.default_rng(2), 12.0)
    times = 2.0 + np.arange(101) * 0.02
    references = held(robot, robot.home)
    taken = references.offer(times, flat.outputs(whole, times), 2.0, ease=False)
    assert any("its last point moves" in remark for remark in taken.remarks) and taken.ends_s == times[-1]
    after = taken.ends_s + np.arange(-0.01, 8.0, 0.002)
    points = followed(references, after)
    assert np.abs(points.v[0]).max() > 0.05 and np.abs(np.diff(points.v, axis=0)).max() < 0.25
    assert not np.any(points.v[-1])
    flat.check(references.current, taken.ends_s, 8.0)


def test_a_brake_near_a_position_limit_stays_inside_it() -> None:
    near = PANDA.home.copy()
    near[0] = PANDA.position_upper[0] - 0.05
    far = near.copy()
    far[0] -= 0.2
    v = np.zeros((2, 7))
    v[1, 0] = 0.4
    references = held(PANDA, far)
    references.offer(np.array([1.0, 2.0]), Outputs(np.stack([far, near]), v, None), 1.0)
    q = followed(references, np.arange(1.0, 4.0, 0.002)).q[:, 0]
    assert near[0] < q.max() <= PANDA.position_upper[0]


@pytest.mark.parametrize("name", ["planar2", "panda", "x500"])
def test_a_robot_in_motion_is_brought_to_rest_without_a_jump_in_velocity(name: str) -> None:
    robot = load_robot(name)
    references, rng = ReferenceManager(robot), np.random.default_rng(0)
    motion = flat_outputs_of(robot).motion(MOVING[robot.kind], rng, 10.0)
    now = motion.sample(np.array([3.0]))
    references.brake(State(now.q[0], now.v[0]), 5.0)
    assert references.current is not None
    begun, rest = references.current.sample(np.array([5.0])), references.current.sample(np.array([15.0]))
    place = slice(0, 3) if robot.attitude is not None else slice(None)
    np.testing.assert_allclose(begun.q[0, place], now.q[0, place], atol=1e-12)
    still = robot.attitude is None and np.abs(now.v[0]) <= STANDING_RAD_S  # taken for noise of the sensor
    np.testing.assert_allclose(begun.v[0, place], np.where(still, 0.0, now.v[0])[place], atol=1e-12)
    assert np.abs(now.v[0, place]).max() > 0.2 and not rest.v.any() and not rest.a[0, :3].any()
    flat_outputs_of(robot).check(references.current, 5.0, 10.0)


@pytest.mark.parametrize("name", ["panda", "x500"])
def test_a_robot_that_stands_is_held_exactly_where_it_is(name: str) -> None:
    robot = load_robot(name)
    references, flat = ReferenceManager(robot), flat_outputs_of(robot)
    references.brake(State(robot.home, np.full(robot.dof, 0.03)), 5.0)
    times = np.array([5.0, 6.0])
    assert references.current is not None
    assert np.array_equal(references.current.sample(times).q, flat.hold(robot.home).sample(times).q)


@pytest.mark.parametrize("name", ["panda", "x500"])
def test_a_reference_that_arrives_while_it_comes_to_rest_is_joined_without_a_jump(name: str) -> None:
    robot = load_robot(name)
    flat, references = flat_outputs_of(robot), ReferenceManager(robot)
    motion = flat.motion(MOVING[robot.kind], np.random.default_rng(2), 10.0)
    now = motion.sample(np.array([3.0]))
    references.brake(State(now.q[0], now.v[0]), 5.0)
    braking = references.current
    assert braking is not None
    times = np.arange(5.3, 9.0, 0.02)
    references.offer(times, flat.outputs(motion, times), 5.2)
    assert references.current is not None
    a, b = braking.sample(np.array([5.3])), references.current.sample(np.array([5.3]))
    smooth = slice(0, 3) if robot.attitude is not None else slice(None)  # angular acceleration may jump
    assert max(np.abs(a.q - b.q).max(), np.abs(a.v - b.v).max(), np.abs(a.a - b.a)[0, smooth].max()) < 1e-5
    flat.check(references.current, 5.2, 3.0, where=braking)


def test_a_joint_comes_to_rest_before_its_limit() -> None:
    q, v = ROBOT.home.copy(), np.zeros(ROBOT.dof)
    q[0], v[0], v[1] = ROBOT.position_upper[0] - 0.02, 0.5, -1.0
    times, stop = np.linspace(0.0, 1.0, 201), flat_outputs_of(ROBOT).brake(State(q, v), 0.0)
    points = stop.sample(times)
    assert points.q[-1, 0] <= ROBOT.position_upper[0] + 1e-12
    np.testing.assert_allclose(np.gradient(points.q, times, axis=0)[1:-1], points.v[1:-1], atol=2e-3)
    assert np.abs(points.a[:, 1]).max() < 4.0  # another joint's limit makes it no harder


def one_point(q: np.ndarray) -> Outputs:
    return Outputs(q[None], None, None)


def test_one_point_is_reached_at_its_time_from_the_present_reference() -> None:
    """As joint_trajectory_controller does; tools such as rqt_joint_trajectory_controller send nothing else."""
    references, target = ReferenceManager(ROBOT), ROBOT.home + 0.3
    references.hold(ROBOT.home)
    taken = references.offer(np.array([3.0]), one_point(target), 1.0, starts_s=1.0)
    assert taken == (1.0, 3.0, ())
    assert np.allclose(
        followed(references, np.array([1.0, 2.0, 3.0])).q - ROBOT.home, [[0.0] * 2, [0.15] * 2, [0.3] * 2]
    )


def test_points_that_come_again_and_again_are_joined_in_motion() -> None:
    references, rng = ReferenceManager(ROBOT), np.random.default_rng(0)
    references.hold(ROBOT.home)
    for now in np.arange(1.0, 3.0, 0.1):
        before = references.current
        assert before is not None
        target = ROBOT.home + rng.uniform(-0.2, 0.2, 2)
        references.offer(np.array([now + 1.0]), one_point(target), float(now), starts_s=float(now))
        assert references.current is not None and jump(references.current, float(now), before) < 1e-9
        check_reference(ROBOT, references.current, float(now), 2.0)


def test_the_same_trajectory_sent_again_on_the_way_changes_nothing() -> None:
    references, target = ReferenceManager(ROBOT), ROBOT.home + 0.3
    references.hold(ROBOT.home)
    references.offer(np.array([3.0]), one_point(target), 1.0, starts_s=1.0)
    times = np.arange(1.6, 4.0, 0.05)
    first = followed(references, times).q
    references.offer(np.array([3.0]), one_point(target), 1.6, starts_s=1.0)
    assert np.allclose(followed(references, times).q, first, atol=1e-3)


def test_a_point_that_is_too_near_in_time_is_reached_later_and_this_is_said() -> None:
    references, target = ReferenceManager(ROBOT), ROBOT.home + 1.5
    references.hold(ROBOT.home)
    taken = references.offer(np.array([1.1]), one_point(target), 1.0, starts_s=1.0)
    assert "its first point is too near" in taken.remarks[0] and taken.ends_s > 1.5
    assert np.allclose(followed(references, np.array([taken.ends_s])).q[0], target)
    check_reference(ROBOT, references.current, 1.0, 4.0)


def test_a_trajectory_that_starts_later_holds_until_then() -> None:
    references, target = ReferenceManager(ROBOT), ROBOT.home + 0.3
    references.hold(ROBOT.home)
    references.offer(np.array([3.0, 4.0]), Outputs(np.stack([target, ROBOT.home]), None, None), 1.0, starts_s=2.0)
    held, halfway, reached = followed(references, np.array([2.0, 2.5, 3.0])).q - ROBOT.home
    assert np.allclose(held, 0.0) and np.all((halfway > 0.05) & (halfway < 0.25)) and np.allclose(reached, 0.3)
