# SPDX-License-Identifier: Apache-2.0
"""Paths of ground vehicles, the speeds along them, references, and the part of a reference that is near a vehicle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Reference, Setpoints
from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.flat_outputs import GroundOutputs
from metarl_robot.robots.ground.nearby import SPACING_S, Progress
from metarl_robot.robots.ground.past_line import MOST_PARTS, Parts, continued
from metarl_robot.robots.ground.path import Path
from metarl_robot.robots.ground.path_reference import GRIP_SHARE, PathReference, driven
from metarl_robot.robots.ground.pure_pursuit import PurePursuit, PurePursuitConfig
from metarl_robot.robots.ground.speed_profile import speed_profile
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.task import GroundTask
from metarl_robot.trajectories.flat_outputs import Outputs
from metarl_robot.trajectories.reference_manager import ReferenceManager
from metarl_robot.trajectories.splines import Hold

Array = NDArray[np.float64]

RADIUS_M = 2.0
FRICTION = 0.6
CLOSED = ("oval", "circle", "figure_eight")
OPEN = ("slalom", "lane_change")
RACEWAYS = tuple(f"raceway {seed}" for seed in range(4))


def _robot() -> Ground:
    made = load_robot("f1tenth")
    assert isinstance(made, Ground)
    return made


ROBOT = _robot()


def _path(name: str) -> Path:
    if name.startswith("raceway"):
        return courses.raceway(ROBOT, np.random.default_rng(int(name.split()[1])))
    made: Callable[[Ground], Path] = getattr(courses, name)
    return made(ROBOT)


def _circle(sign: float = 1.0, count: int = 60) -> Path:
    turn = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    return Path(RADIUS_M * np.column_stack([np.sin(turn), sign * (1.0 - np.cos(turn))]), closed=True)


def _line(length_m: float = 40.0) -> Path:
    return Path(np.column_stack([np.linspace(0.0, length_m, 9), np.zeros(9)]))


def _steady(speed_m_s: float) -> PathReference:
    """A straight line at a constant speed."""
    path = _line()
    along = np.linspace(0.0, path.length_m, 101)
    return PathReference(path, along, np.full(101, speed_m_s))


# Paths.


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_circle_has_its_length_curvature_and_turn(sign: float) -> None:
    path = _circle(sign)
    along = np.linspace(0.0, path.length_m, 700)
    points = path.at(along)
    # a cubic spline through points h apart: position off by h⁴/(384 R³) = 1e-6 m, curvature by h²/(12 R³) = 1e-3 / R
    assert path.length_m == pytest.approx(2.0 * np.pi * RADIUS_M, rel=1e-4)
    assert np.allclose(points.curvature, sign / RADIUS_M, rtol=3e-3)
    assert np.allclose(np.hypot(points.position[:, 0], points.position[:, 1] - sign * RADIUS_M), RADIUS_M, atol=1e-4)
    assert np.allclose(points.yaw, sign * along / RADIUS_M, atol=3e-3)
    assert path.turn_rad == pytest.approx(sign * 2.0 * np.pi, abs=1e-6)


@pytest.mark.parametrize("name", [*CLOSED, *OPEN, "raceway 3"])
def test_path_parameter_is_arc_length_and_yaw_its_direction(name: str) -> None:
    path = _path(name)
    step = 0.01
    along = np.arange(0.0, path.length_m, step)
    points = path.at(along)
    moved = np.diff(points.position, axis=0)
    assert np.allclose(np.linalg.norm(moved, axis=1), step, rtol=1e-3)
    middle = path.at(along[:-1] + 0.5 * step)
    forward = np.column_stack([np.cos(middle.yaw), np.sin(middle.yaw)])
    assert np.all(np.sum(moved * forward, axis=1) > (1.0 - 1e-3) * step)
    assert np.allclose(np.diff(points.yaw) / step, middle.curvature, atol=0.01)
    # the curvature's rate has steps at the spline's knots: compared as an integral
    change = np.cumsum(middle.sharpness) * step
    assert np.allclose(change, points.curvature[1:] - points.curvature[0], atol=0.05)


def test_length_of_an_open_path_is_that_of_its_curve() -> None:
    x = np.linspace(0.0, 4.0, 81)
    path = Path(np.column_stack([x, 0.5 * np.sin(x)]))
    fine = np.linspace(0.0, 4.0, 20001)
    exact = np.hypot(np.diff(fine), 0.5 * np.diff(np.sin(fine))).sum()
    assert path.length_m == pytest.approx(exact, rel=1e-4) and not path.closed
    ends = path.at(np.array([0.0, path.length_m, -3.0, 1e3])).position
    assert np.allclose(ends[[0, 2]], [0.0, 0.0]) and np.allclose(ends[[1, 3]], [4.0, 0.5 * np.sin(4.0)])


@pytest.mark.parametrize("name", [*CLOSED, "raceway 0"])
def test_a_closed_path_repeats_with_its_turn(name: str) -> None:
    path = _path(name)
    along = np.linspace(0.0, 0.999 * path.length_m, 50)
    first = path.at(along)
    for laps in (-2, 1, 7):
        again = path.at(along + laps * path.length_m)
        assert np.allclose(again.position, first.position, atol=1e-6)
        assert np.allclose(again.yaw, first.yaw + laps * path.turn_rad, atol=1e-6)
        assert np.allclose(again.curvature, first.curvature, atol=1e-5)
    before, after = (path.at(np.array([path.length_m + side])) for side in (-1e-6, 1e-6))
    assert np.allclose(before.position, after.position, atol=1e-5)
    assert np.allclose(before.yaw, after.yaw, atol=1e-5) and np.allclose(before.curvature, after.curvature, atol=1e-3)


def test_turn_of_a_figure_eight_is_none_and_of_a_raceway_one() -> None:
    assert _path("figure_eight").turn_rad == pytest.approx(0.0, abs=1e-6)
    assert all(_path(name).turn_rad == pytest.approx(2.0 * np.pi, abs=1e-6) for name in RACEWAYS)


def test_nearest_point_of_a_path_is_where_a_radius_meets_it() -> None:
    path = _circle()
    for along in (0.3, 5.0, path.length_m - 0.1):
        place = path.at(np.array([along]))
        left = np.array([-np.sin(place.yaw[0]), np.cos(place.yaw[0])])
        for aside in (-0.5, 0.0, 0.5):
            assert path.nearest(place.position[0] + aside * left, along + 0.7) == pytest.approx(along, abs=0.01)


@pytest.mark.parametrize(
    ("points", "closed", "what"),
    [
        ([[0.0, 0.0]], False, "at least 2 points"),
        ([[0.0, 0.0], [1.0, 0.0]], True, "at least 3 points"),
        ([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], False, "shape"),
        ([0.0, 1.0], False, "shape"),
        ([[0.0, 0.0], [np.nan, 0.0], [2.0, 0.0]], False, "point 1 is not finite"),
        ([[0.0, 0.0], [1.0, 0.0], [2.0, np.inf]], False, "point 2 is not finite"),
        ([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [2.0, 0.0]], False, "points 1 and 2 are at one place"),
        ([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]], True, "points 3 and 4 are at one place"),
    ],
)
def test_points_that_make_no_path_are_refused(points: list, closed: bool, what: str) -> None:
    with pytest.raises(SignalError, match=what):
        Path(np.array(points), closed)


# Speeds.


@pytest.mark.parametrize("friction", [0.3, 1.05])
@pytest.mark.parametrize("name", [*CLOSED, *OPEN, *RACEWAYS])
def test_speeds_respect_limits_and_the_friction_circle(name: str, friction: float) -> None:
    path = _path(name)
    along, speed = speed_profile(ROBOT, path, friction)
    curvature, grip = np.abs(path.at(along).curvature), friction * GRAVITY_M_S2
    assert np.all(speed >= 0.0) and speed.max() <= ROBOT.velocity_limit[0] * (1.0 + 1e-9)
    assert np.max(speed * curvature) <= ROBOT.velocity_limit[2] * (1.0 + 1e-9)
    lateral, rate = speed**2 * curvature, np.diff(speed**2) / (2.0 * np.diff(along))
    assert lateral.max() <= grip * (1.0 + 1e-9)
    motors = ROBOT.effort_limit[1] / ROBOT.wheel_radius_m / ROBOT.mass_kg
    assert np.abs(rate).max() <= motors * (1.0 + 1e-9)
    # each interval is limited at the end from which its pass comes: speeding up at its start, braking at its end
    used = np.hypot(rate, np.where(rate > 0.0, lateral[:-1], lateral[1:]))
    assert used.max() <= grip * (1.0 + 1e-9)
    # at the other end the curvature is that of 5 cm further on
    assert np.hypot(rate, np.maximum(lateral[:-1], lateral[1:])).max() <= 1.1 * grip


def test_a_fast_yaw_limits_the_speed_of_a_tight_circle() -> None:
    radius = 0.3
    turn = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
    path = Path(radius * np.column_stack([np.cos(turn), np.sin(turn)]), closed=True)
    _, speed = speed_profile(ROBOT, path, 3.0)  # grip would allow sqrt(3 g r) = 3 m/s, the yaw rate 2.4 m/s
    assert np.allclose(speed, ROBOT.velocity_limit[2] * radius, rtol=0.01)


def test_a_circle_is_driven_at_the_speed_that_its_friction_holds() -> None:
    _, speed = speed_profile(ROBOT, _circle(), FRICTION)
    assert np.allclose(speed, np.sqrt(FRICTION * GRAVITY_M_S2 * RADIUS_M), rtol=2e-3)


@pytest.mark.parametrize("name", OPEN)
def test_speeds_of_an_open_path_begin_as_told_and_end_at_rest(name: str) -> None:
    path = _path(name)
    for start in (0.0, 1.5):
        _, speed = speed_profile(ROBOT, path, FRICTION, start)
        assert speed[0] == pytest.approx(start) and speed[-1] == 0.0 and speed[1:-1].min() > 0.0


def test_a_long_straight_is_driven_as_fast_as_allowed_and_braked_late() -> None:
    path, limit = _line(), ROBOT.velocity_limit[0]
    along, speed = speed_profile(ROBOT, path, FRICTION)
    assert speed.max() == pytest.approx(limit)
    way = limit**2 / (2.0 * FRICTION * GRAVITY_M_S2)  # to speed up, and to brake [m]
    fast = along[speed > limit - 1e-6]
    assert fast[0] == pytest.approx(way, abs=0.1) and path.length_m - fast[-1] == pytest.approx(way, abs=0.1)


@pytest.mark.parametrize("name", [*CLOSED, "raceway 0"])
def test_speeds_of_a_closed_path_are_equal_at_both_ends(name: str) -> None:
    _, speed = speed_profile(ROBOT, _path(name), FRICTION)
    assert speed[0] == pytest.approx(speed[-1], rel=1e-6)


@pytest.mark.parametrize("name", RACEWAYS[1:])
def test_speeds_of_a_raceway_that_begins_within_a_change_of_speed_are_equal_at_both_ends(name: str) -> None:
    _, speed = speed_profile(ROBOT, _path(name), FRICTION)
    assert speed[0] == pytest.approx(speed[-1], rel=1e-6)


# References.


@pytest.mark.parametrize("name", ["oval", "slalom", "raceway 0"])
def test_velocity_and_acceleration_are_derivatives(name: str) -> None:
    reference, step = driven(ROBOT, _path(name), FRICTION), 1e-3
    times = np.arange(0.0, 2.5 * reference.lap_s, step)
    points = reference.sample(times)
    fine = reference.sample(times[:-1] + 0.5 * step)
    # acceleration along the path is constant for 5 cm and then jumps: compared as an integral
    assert np.allclose(np.diff(points.q, axis=0) / step, fine.v, atol=0.03)
    change = np.cumsum(fine.a, axis=0) * step
    wanted = points.v[1:] - points.v[0]
    assert np.abs(change - wanted)[:, :2].max() < 0.05 and np.abs(change - wanted)[:, 2].max() < 0.05
    window = 40  # mean accelerations of 40 ms
    mean = (points.v[window:] - points.v[:-window]) / (window * step)
    sums = np.cumsum(np.concatenate([np.zeros((1, 3)), fine.a]), axis=0)
    assert np.abs((sums[window:] - sums[:-window]) / window - mean)[:, :2].max() < 0.03 * FRICTION * GRAVITY_M_S2


def test_a_vehicle_on_its_path_looks_ahead_without_sliding() -> None:
    points = driven(ROBOT, _path("oval"), FRICTION).sample(np.linspace(0.0, 12.0, 500))
    across = points.v[:, 1] * np.cos(points.q[:, 2]) - points.v[:, 0] * np.sin(points.q[:, 2])
    assert np.abs(across).max() < 1e-9


@pytest.mark.parametrize("name", ["oval", "figure_eight", "raceway 0"])
def test_a_closed_reference_goes_on_for_many_laps(name: str) -> None:
    path = _path(name)
    reference = driven(ROBOT, path, FRICTION)
    times = 2.0 * reference.lap_s + np.linspace(0.0, reference.lap_s, 40)
    lap = reference.sample(times)
    for laps in (1, 10, 500):
        later = reference.sample(times + laps * reference.lap_s)
        assert np.allclose(later.q[:, :2], lap.q[:, :2], atol=1e-5)
        assert np.allclose(later.q[:, 2], lap.q[:, 2] + laps * path.turn_rad, atol=1e-5)
        assert np.allclose(later.v, lap.v, atol=1e-4)


@pytest.mark.parametrize("name", [*CLOSED, *OPEN, "raceway 2"])
def test_a_reference_starts_from_rest_and_only_goes_forward(name: str) -> None:
    reference = driven(ROBOT, _path(name), FRICTION)
    start = reference.sample(np.array([0.0]))
    assert np.allclose(start.v, 0.0)
    along, speed, _ = reference.progress(np.arange(0.0, 30.0, 0.005))
    assert np.all(np.diff(along) >= 0.0) and np.all(speed >= 0.0)
    # as fast as friction allows from rest: v = mu g t, up to the curvature of the path's start
    assert speed[40] == pytest.approx(FRICTION * GRAVITY_M_S2 * 0.2, rel=0.1)


@pytest.mark.parametrize("name", CLOSED)
def test_velocity_does_not_jump_from_lap_to_lap(name: str) -> None:
    reference = driven(ROBOT, _path(name), FRICTION)
    _assert_steady(reference)


@pytest.mark.parametrize("name", RACEWAYS[1:])
def test_velocity_of_a_raceway_does_not_jump_from_lap_to_lap(name: str) -> None:
    _assert_steady(driven(ROBOT, _path(name), FRICTION))


def _assert_steady(reference: PathReference) -> None:
    times = np.arange(0.0, 4.0 * reference.lap_s, 5e-4)
    jumps = np.linalg.norm(np.diff(reference.sample(times).v[:, :2], axis=0), axis=1)
    assert jumps.max() < 1.2 * FRICTION * GRAVITY_M_S2 * 5e-4 + 1e-3


@pytest.mark.parametrize("name", OPEN)
def test_an_open_reference_stays_at_its_end(name: str) -> None:
    path = _path(name)
    reference = driven(ROBOT, path, FRICTION)
    after = reference.sample(reference.lap_s + np.array([0.01, 1.0, 100.0]))
    assert not np.any(after.v) and not np.any(after.a)
    assert np.allclose(after.q[:, :2], path.at(np.array([path.length_m])).position, atol=1e-6)
    before = reference.sample(np.array([reference.lap_s - 1e-3]))
    assert np.hypot(*before.v[0, :2]) < 0.05


def test_before_its_start_a_reference_stands() -> None:
    path = _line()
    along, speed = speed_profile(ROBOT, path, FRICTION)
    waiting = PathReference(path, along, speed, start_s=2.0).sample(np.array([0.0, 1.0, 1.99]))
    assert not np.any(waiting.v) and np.allclose(waiting.q, 0.0)


def test_before_its_start_a_reference_does_not_accelerate() -> None:
    path = _line()
    along, speed = speed_profile(ROBOT, path, FRICTION)
    assert not np.any(PathReference(path, along, speed, start_s=2.0).sample(np.array([0.0, 1.0])).a)


def test_a_slower_pace_takes_longer_on_the_same_path() -> None:
    flat = GroundOutputs(ROBOT)
    reference = driven(ROBOT, _path("oval"), FRICTION)
    slow = flat.paced(reference, 0.5)
    assert isinstance(slow, PathReference) and slow.lap_s == pytest.approx(2.0 * reference.lap_s)
    times = np.linspace(3.0, 20.0, 50)
    assert np.allclose(slow.sample(2.0 * times).q, reference.sample(times).q, atol=1e-3)


# Progress along a reference.


class Waiting:
    """A straight line that waits at x = 1 m from 1.5 s to 6 s; 1 m/s otherwise, with 2 m/s² between."""

    _clock = np.array([0.0, 0.5, 1.0, 1.5, 6.0, 6.5, 100.0])
    _speed = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    _rate = np.array([2.0, 0.0, -2.0, 0.0, 2.0, 0.0])
    _way = np.array([0.0, 0.25, 0.75, 1.0, 1.0, 1.25])

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        k = np.clip(np.searchsorted(self._clock, times, side="right") - 1, 0, 5)
        since, zero = np.maximum(times, 0.0) - self._clock[k], np.zeros_like(times)
        x = self._way[k] + since * (self._speed[k] + 0.5 * since * self._rate[k])
        speed = self._speed[k] + since * self._rate[k]
        rate = np.where(times < 0.0, 0.0, self._rate[k])
        return Setpoints(*(np.column_stack([part, zero, zero]) for part in (x, speed, rate)))


def test_a_late_vehicle_is_not_pulled_to_catch_up() -> None:
    reference, progress = _steady(2.0), Progress()
    for k in range(300):  # it drives at half the speed: after 6 s it is 3 s late
        time = 0.02 * k
        found = progress.nearest(reference, time, np.array([1.0 * time, 0.1]))
        assert found is not None
        # the spacing of the search, and the weight of the time: (0.01 m/s / 2 m/s)² * 3 s
        assert abs(found.points.q[0, 0] - time) <= 2.0 * (0.5 * SPACING_S + 1e-3)
        assert found.speed_m_s == pytest.approx(2.0) and found.points.q[-1, 0] > time + 1.9


def test_a_vehicle_that_stands_keeps_its_place_on_the_path() -> None:
    reference, progress = _steady(2.0), Progress()
    for k in range(1000):
        found = progress.nearest(reference, 0.02 * k, np.array([1.0, 0.0]))
        assert found is not None and abs(found.points.q[0, 0] - 1.0) < 0.05


def test_where_a_reference_waits_its_time_goes_on() -> None:
    progress = Progress()
    for k in range(75, 351):  # a vehicle that stands where the reference waits
        time = 0.02 * k
        found = progress.nearest(Waiting(), time, np.array([1.0, 0.0]))
        assert found is not None
        if time < 6.0:
            assert abs(found.time_s - time) <= SPACING_S and found.speed_m_s < 2.0 * SPACING_S
    # a second after it went on: its start is found, which wants the vehicle to speed up
    assert found is not None and found.time_s >= 6.0 - SPACING_S and found.acceleration_m_s2 == pytest.approx(2.0)


def test_a_vehicle_a_little_beyond_the_place_of_a_wait_waits_as_long() -> None:
    progress = Progress()
    for k in range(75, 295):  # up to 0.1 s before the reference goes on
        found = progress.nearest(Waiting(), 0.02 * k, np.array([1.02, 0.0]))
        assert found is not None and found.time_s < 6.0


def test_a_simulated_vehicle_waits_and_goes_on_with_the_reference() -> None:
    plant, law, x = GroundPlant(ROBOT, GroundTask()), PurePursuit(ROBOT, PurePursuitConfig()), []
    state = plant.reset()
    for k in range(350):
        state = plant.step(law.step(0.02 * k, state, Waiting()).effort, 0.02)
        x.append(state.q[0])
    assert np.abs(np.array(x[100:235]) - 1.0).max() < 0.1  # from 2 s to 4.7 s
    # after 7 s the reference is 1 s on: at most half a second late, at most AHEAD_S early
    assert 1.25 < x[-1] < 2.75


def test_at_a_crossing_the_branch_that_is_driven_is_kept() -> None:
    path = _path("figure_eight")
    reference, progress = driven(ROBOT, path, FRICTION), Progress()
    times = np.arange(0.0, 2.0 * reference.lap_s, 0.02)
    rng = np.random.default_rng(0)
    for time, q in zip(times, reference.sample(times).q, strict=True):
        found = progress.nearest(reference, float(time), q[:2] + 0.05 * rng.standard_normal(2))
        # the search finds the time to within the noise along the path over the speed, 0.2 m over 1 m/s, but not
        # another branch, which is seconds away
        assert found is not None and abs(found.time_s - time) < 0.3


def test_a_new_reference_is_searched_about_the_present_time() -> None:
    progress = Progress()
    assert progress.nearest(_steady(1.0), 0.0, np.zeros(2)) is not None
    found = progress.nearest(_steady(2.0), 8.0, np.array([14.0, 0.0]))  # another one: one second late on it
    assert found is not None and found.time_s == pytest.approx(7.0, abs=2.0 * SPACING_S)


@dataclass(frozen=True)
class Part:
    """A part of a reference that stands before its beginning, as a trajectory of a message does."""

    whole: Reference
    begin_s: float

    def sample(self, times: Array) -> Setpoints:
        return self.whole.sample(np.maximum(times, self.begin_s))


def test_a_late_vehicle_drives_what_lies_behind_a_new_part_of_its_reference() -> None:
    reference, whole, parts = _steady(2.0), Progress(), Progress(keeps_past=True)
    part: Reference = Part(reference, 0.0)
    for k in range(600):  # at half the speed: after 12 s it is 6 s late
        time, position = 0.02 * k, np.array([0.02 * k, 0.1])
        if k % 50 == 0:
            part = Part(reference, time)
        expected, found = whole.nearest(reference, time, position), parts.nearest(part, time, position)
        assert expected is not None and found is not None
        np.testing.assert_allclose(found.point.q, expected.point.q, atol=1e-9)


def test_a_reference_elsewhere_is_followed_at_once() -> None:
    progress = Progress(keeps_past=True)
    progress.nearest(_steady(2.0), 3.0, np.array([2.0, 0.0]))
    there = Hold(np.array([5.0, 4.0, 0.0]))
    found = progress.nearest(there, 3.02, np.array([2.0, 0.0]))
    assert found is not None and found.reference is there


def test_parts_that_were_driven_are_forgotten() -> None:
    reference = _steady(2.0)
    line: Reference | None = reference
    for second in range(1, 10):
        assert line is not None
        line = continued(line, Part(reference, second), second, second - 3.5)
    assert isinstance(line, Parts) and line.joins == [6.0, 7.0, 8.0, 9.0]
    assert isinstance(continued(line, Part(reference, 10.0), 10.0, 10.0), Part)


def test_a_vehicle_that_stands_for_long_keeps_a_bounded_number_of_parts() -> None:
    line: Reference | None = Hold(np.zeros(3))
    for second in range(2 * MOST_PARTS):
        assert line is not None
        line = continued(line, Hold(np.zeros(3)), second, -1.0)
    assert isinstance(line, Parts) and len(line.references) == MOST_PARTS
    assert np.isfinite(line.sample(np.linspace(-10.0, 1e4, 50)).q).all()


def test_a_reference_that_is_not_finite_is_not_followed() -> None:
    class Broken:
        def sample(self, times: Array) -> Setpoints:
            points = np.zeros((len(times), 3))
            return Setpoints(points, points, points + np.nan)

    assert Progress().nearest(Broken(), 0.0, np.zeros(2)) is None


# Courses.


@pytest.mark.parametrize("name", GroundOutputs.motion_names)
def test_every_motion_can_be_driven(name: str) -> None:
    flat = GroundOutputs(ROBOT)
    reference = flat.motion(name, np.random.default_rng(1), 20.0)
    flat.check(reference, 0.0, 20.0)
    points = reference.sample(np.arange(0.0, 20.0, 0.01))
    grip = ROBOT.friction * GRAVITY_M_S2
    assert np.linalg.norm(points.a[:, :2], axis=1).max() <= 1.1 * GRIP_SHARE * grip


@pytest.mark.parametrize("first", range(0, 20, 5))
def test_every_raceway_can_be_driven(first: int) -> None:
    flat = GroundOutputs(ROBOT)
    for seed in range(first, first + 5):
        flat.check(flat.motion("raceway", np.random.default_rng(seed), 20.0), 0.0, 20.0, rate_hz=100.0)


def test_a_course_that_cannot_be_driven_is_refused() -> None:
    flat, turn = GroundOutputs(ROBOT), np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
    tight = Path(0.4 * np.column_stack([np.cos(turn), np.sin(turn)]), closed=True)
    with pytest.raises(SignalError, match="curvature"):  # the least radius is l / tan(0.42) = 0.74 m
        flat.check(driven(ROBOT, tight, 0.3), 0.0, 5.0)
    with pytest.raises(SignalError, match="acceleration"):
        flat.check(driven(ROBOT, _circle(), 1.5 * ROBOT.friction), 0.0, 5.0)


@pytest.mark.parametrize("late_s", [0.5, 3.0, 6.0])
@pytest.mark.parametrize("name", [*CLOSED, *OPEN])
def test_a_vehicle_whose_speed_limit_binds_can_join_a_course_that_is_under_way(name: str, late_s: float) -> None:
    husky = load_robot("husky")
    course, references = GroundOutputs(husky).motion(name, np.random.default_rng(0), 60.0), ReferenceManager(husky)
    references.hold(course.sample(np.zeros(1)).q[0])
    times = late_s + np.linspace(0.0, 8.0, 161)
    points = course.sample(times)
    references.offer(times, Outputs(points.q, points.v, points.a), late_s)
    joined = references.current
    assert joined is not None
    speed = np.linalg.norm(joined.sample(times).v[:, :2], axis=1)
    far = np.hypot(*(points.q[0, :2] - course.sample(np.zeros(1)).q[0, :2])) > husky.wheelbase_m
    assert (far or speed[0] < 0.02) and speed.max() <= husky.velocity_limit[0] * (1.0 + 1e-6)


@pytest.mark.parametrize("name", [*CLOSED, *OPEN])
def test_a_course_far_away_is_followed_as_it_is(name: str) -> None:
    """Faded from where the vehicle stands, it would move backwards and sideways, or be refused for its curvature."""
    course, references = GroundOutputs(ROBOT).motion(name, np.random.default_rng(0), 60.0), ReferenceManager(ROBOT)
    references.hold(course.sample(np.zeros(1)).q[0])
    times = 1.5 + np.linspace(0.0, 2.0, 81)
    points = course.sample(times)
    references.offer(times, Outputs(points.q, points.v, points.a), 1.5)
    joined = references.current
    assert joined is not None
    np.testing.assert_allclose(joined.sample(times).q, points.q, atol=1e-6)
