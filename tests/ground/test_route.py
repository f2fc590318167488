# SPDX-License-Identifier: Apache-2.0
"""Obstacles: distances, the way around them, and runs among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import load_config, make_controller
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Setpoints, State
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.detour import Lattice, smooth_offsets
from metarl_robot.robots.ground.nearby import Progress
from metarl_robot.robots.ground.obstacles import Obstacles, clearance, grid_discs
from metarl_robot.robots.ground.path import Path
from metarl_robot.robots.ground.path_reference import driven
from metarl_robot.robots.ground.route import Route, RouteConfig
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.kinds import simulation

ROBOT = load_robot("f1tenth")
assert isinstance(ROBOT, Ground)
HUSKY = load_robot("husky")
assert isinstance(HUSKY, Ground)
STRAIGHT = driven(ROBOT, Path(np.column_stack([np.linspace(0.0, 40.0, 41), np.zeros(41)])), 0.5)
STOP_M = 0.1
"""Least distance from an obstacle before which a vehicle stops."""


def test_the_distance_from_discs_is_that_of_the_nearest() -> None:
    rng = np.random.default_rng(0)
    discs = np.column_stack([rng.uniform(-3.0, 3.0, (30, 2)), rng.choice([0.1, 0.4], 30)])
    places = rng.uniform(-4.0, 4.0, (50, 2))
    each = np.linalg.norm(places[:, None] - discs[:, :2], axis=2) - discs[:, 2]
    np.testing.assert_allclose(Obstacles(discs).distance(places), each.min(axis=1), atol=1e-12)
    near = Obstacles(discs).near(places[:2], 0.5)
    close = Obstacles(discs).distance(places[:2]) < 0.5
    np.testing.assert_allclose(near.distance(places[:2])[close], Obstacles(discs).distance(places[:2])[close])


def test_the_clearance_is_that_of_the_outline() -> None:
    rng = np.random.default_rng(1)
    poses = np.column_stack([rng.uniform(-1.0, 1.0, (40, 2)), rng.uniform(-3.0, 3.0, 40)])
    half = 0.5 * np.asarray(ROBOT.description.size_m[:2])
    side = np.linspace(-1.0, 1.0, 401)
    outline = np.concatenate([np.column_stack([s * np.ones(401), side]) for s in (-1.0, 1.0)])
    outline = half * np.concatenate([outline, outline[:, ::-1]])
    discs = np.array([[0.2, -0.3, 0.15]])
    for pose, found in zip(poses, clearance(ROBOT, Obstacles(discs), poses), strict=True):
        c, s = np.cos(pose[2]), np.sin(pose[2])
        points = pose[:2] + outline @ np.array([[c, s], [-s, c]])
        if found > 0.0:
            assert found == pytest.approx(Obstacles(discs).distance(points).min(), abs=2e-3)
        else:
            inside = np.abs((discs[0, :2] - pose[:2]) @ np.array([[c, -s], [s, c]])) <= half
            assert inside.all() or Obstacles(discs).distance(points).min() <= 2e-3


@pytest.mark.parametrize(
    ("discs", "words"),
    [
        ([[0.0, 1.0]], "rows"),
        ([[0.0, 1.0, -0.1]], "row 0"),
        ([[0.0, 1.0, 0.1], [np.nan, 0.0, 0.1]], "row 1"),
        ([[0.0, 1e9, 0.1]], "within"),
    ],
)
def test_discs_that_cannot_be_are_refused(discs: list, words: str) -> None:
    with pytest.raises(SignalError, match=words):
        Obstacles(np.array(discs))


def test_the_edges_of_a_grid_s_cells_are_obstacles_in_the_world() -> None:
    occupied = np.zeros((20, 30), bool)
    occupied[5:10, 10:20] = True
    yaw = 0.4
    found = Obstacles(grid_discs(occupied, 0.1, np.array([1.0, -2.0, yaw])))
    assert len(found) == 2 * 10 + 2 * 3
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    corners = np.array([[1.0, 0.5], [2.0, 0.5], [2.0, 1.0], [1.0, 1.0]]) @ turn.T + [1.0, -2.0]
    assert np.all(found.distance(corners) <= 1e-9)
    assert found.distance(np.array([[0.5, 0.5]]) @ turn.T + [1.0, -2.0])[0] == pytest.approx(0.5, abs=0.03)
    assert len(grid_discs(np.zeros((4, 4), bool), 0.1, np.zeros(3))) == 0


def lattice(*blocked: tuple[slice, slice]) -> Lattice:
    free = np.ones((60, 21), bool)
    for place in blocked:
        free[place] = False
    return Lattice(np.linspace(-1.0, 1.0, 21), 0.2, free)


def test_a_way_takes_the_shorter_side_and_keeps_the_other_one_if_it_is_on_it() -> None:
    block = (slice(30, 34), slice(6, 15))  # offsets -0.4 to 0.4
    left = lattice(block, (slice(30, 34), slice(0, 3))).way(0.0, np.zeros(60))
    assert left[1] == 60
    for last in (0.6, -0.6):
        way, _ = lattice(block).way(0.0, np.full(60, last))
        assert np.all(np.sign(way[30:34] - 10) == np.sign(last))


def test_a_way_ends_before_a_wall() -> None:
    way, reached = lattice((slice(30, 32), slice(None))).way(0.0, np.zeros(60))
    assert reached == 30 and np.all(way == 10)


def test_smooth_offsets_begin_as_given_and_stay_within_their_bounds() -> None:
    lower, upper = np.full(80, -1.0), np.full(80, 1.0)
    lower[30:40], upper[60:70] = 0.5, -0.3
    offsets = smooth_offsets(lower, upper, 0.2, 1.0, (0.1, 0.05))
    assert offsets[0] == pytest.approx(0.1, abs=1e-6) and offsets[1] - offsets[0] == pytest.approx(0.01, abs=1e-6)
    assert np.all(offsets > lower - 0.01) and np.all(offsets < upper + 0.01)
    assert np.abs(np.diff(offsets, 2)).max() / 0.2**2 < 1.0
    free = smooth_offsets(np.full(80, -1.0), np.full(80, 1.0), 0.2, 1.0, (0.0, 0.0))
    np.testing.assert_allclose(free, 0.0, atol=1e-9)


def along(route: Route, time: float, x: float, speed: float = 3.0) -> Setpoints:
    found = route.nearest(STRAIGHT, time, np.array([x, 0.0, 0.0]), speed)
    assert found is not None
    return found.points


def test_a_reference_that_is_free_is_followed_as_it_is() -> None:
    route, plain = Route(ROBOT, RouteConfig()), Progress()
    route.observe(np.array([[5.0, 8.0, 0.3]]))
    for k in range(100):
        time, x = 0.02 * k, 0.02 * k
        nearest = plain.nearest(STRAIGHT, time, np.array([x, 0.0]))
        assert nearest is not None
        np.testing.assert_array_equal(along(route, time, x).q, nearest.points.q)


def test_an_obstacle_is_passed_and_one_that_is_gone_is_forgotten() -> None:
    route = Route(ROBOT, RouteConfig())
    route.observe(np.array([[5.0, 0.1, 0.2]]))
    times = np.arange(0.0, 3.5, 0.02)
    found = route.nearest(STRAIGHT, 1.5, np.array([2.0, 0.0, 0.0]), 3.0)
    assert found is not None
    points = found.reference.sample(1.5 + times)
    assert clearance(ROBOT, route.obstacles, points.q).min() > 0.075 and points.q[:, 1].min() < -0.2
    route.observe(np.zeros((0, 3)))
    np.testing.assert_allclose(along(route, 1.6, 2.3).q[:, 1], 0.0, atol=0.02)


def test_obstacles_on_unknown_ground_are_passed_at_speed() -> None:
    scenario = replace(simulation(ROBOT).scenario("obstacles", "passable", 1000), duration_s=6.0)
    measures = run_episode(ROBOT, lambda _: make_controller(ROBOT, "meta_mpc"), scenario, "").result.measures
    progress, wanted, free = (measures[key] for key in ("progress_m_s", "reference_m_s", "least_clearance_m"))
    assert measures["collisions"] == 0.0 and free is not None and free < 0.3
    assert progress is not None and wanted is not None and progress > 0.8 * wanted


@pytest.mark.parametrize(
    ("robot", "name", "settings"),
    [
        (ROBOT, "pure_pursuit", {}),
        (ROBOT, "stanley", {}),
        (ROBOT, "mppi", {"samples": 64}),
        (HUSKY, "nominal_mpc", {}),
    ],
)
def test_every_controller_and_vehicle_passes_an_obstacle(robot: Ground, name: str, settings: dict) -> None:
    width_m, friction = robot.description.size_m[1], 0.1
    line = driven(robot, Path(width_m * np.column_stack([np.linspace(0.0, 40.0, 41), np.zeros(41)])), friction)
    discs = width_m * np.array([[8.0, 0.1, 0.4]])
    times = np.arange(0.0, 12.0, 0.1)
    end_s = times[np.argmax(line.progress(times)[0] > 13.0 * width_m)]  # a detour takes longer than the line
    nominal = simulation(robot).scenario("nominal", "undisturbed", 0)
    scenario = replace(nominal, reference=line, obstacles=discs, duration_s=end_s)
    controller = make_controller(robot, name, load_config(robot, name, settings))
    result = run_episode(robot, lambda _: controller, scenario, name)
    assert result.result.measures["collisions"] == 0.0
    assert result.log.q[-1, 0] > 10.0 * width_m and np.ptp(result.log.q[:, 1]) > 0.5 * width_m


def test_before_a_wall_the_vehicle_stops_and_stands() -> None:
    scenario = replace(simulation(ROBOT).scenario("obstacles", "blocked", 1003), duration_s=7.0)
    log = run_episode(ROBOT, lambda _: make_controller(ROBOT, "meta_mpc"), scenario, "").log
    free = clearance(ROBOT, Obstacles(scenario.obstacles), log.q)
    assert STOP_M <= free.min() < 1.0
    assert np.linalg.norm(log.v[-100:, :2], axis=1).max() < 0.2


@pytest.mark.parametrize("name", ["nominal_mpc", "mppi", "pure_pursuit", "stanley"])
def test_a_command_names_the_point_of_the_line_that_is_followed(name: str) -> None:
    controller = make_controller(ROBOT, name)
    controller.observe_obstacles(np.array([[5.0, 0.1, 0.2]]))
    v = np.array([3.0, 0.0, 0.0])
    for time_s in (2.0, 2.01):
        q = np.array([4.0, -0.3, 0.0]) + (time_s - 2.0) * v
        point = controller.step(time_s, State(q, v), STRAIGHT).target
    assert point is not None and point.q.shape == (1, 3)
    assert abs(point.q[0, 0] - q[0]) < 0.5


def test_a_controller_stands_where_an_obstacle_comes_too_close() -> None:
    controller = make_controller(ROBOT, "nominal_mpc")
    controller.observe_obstacles(np.array([[0.45, y, 0.1] for y in np.arange(-2.0, 2.1, 0.1)]))
    state = State(np.zeros(3), np.zeros(3))
    efforts = [controller.step(0.01 * k, state, STRAIGHT).effort for k in range(60)]
    assert np.abs(np.array(efforts)[:, 1]).max() < 0.05 * ROBOT.effort_limit[1]


class Wild:
    """A reference that no vehicle can drive."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rate, self._size = rng.uniform(0.1, 6.0, 3), rng.uniform(0.0, 5.0, 3)

    def sample(self, times: np.ndarray) -> Setpoints:
        phase = np.outer(times, self._rate)
        rates = self._size * self._rate
        return Setpoints(self._size * np.sin(phase), rates * np.cos(phase), -rates * self._rate * np.sin(phase))


@pytest.mark.parametrize("seed", range(60))
def test_the_line_is_finite_for_any_reference_and_obstacles(seed: int) -> None:
    rng, robot = np.random.default_rng(seed), (ROBOT, HUSKY)[seed % 2]
    corners = rng.uniform(-3.0, 3.0, (rng.integers(2, 9), 2))
    reference = (driven(robot, Path(corners), 0.5), Wild(rng), STRAIGHT)[seed % 3]
    route = Route(robot, RouteConfig(obstacle_margin_m=float(rng.choice([0.0, 0.15, 2.0]))))
    for time in np.cumsum(rng.choice([0.01, 0.3, 1.0], 6)):
        here = reference.sample(np.array([time])).q[0]
        count = int(rng.choice([0, 1, 3, 40]))
        places = here[:2] + rng.normal(0.0, rng.choice([0.1, 1.0, 1e5]), (count, 2))
        route.observe(np.column_stack([places, np.abs(rng.normal(0.0, 0.5, count))]))
        pose, speed = here + rng.normal(0.0, rng.choice([0.01, 0.5, 20.0]), 3), float(rng.choice([0.0, 7.0, -2.0]))
        found = route.nearest(reference, time, pose, speed)
        assert found is not None
        points = found.reference.sample(found.time_s + np.linspace(0.0, 1.0, 26))
        assert all(np.isfinite(values).all() for values in (points.q, points.v, points.a))


def test_an_obstacle_at_the_end_of_a_path_is_not_reached() -> None:
    line = driven(ROBOT, Path(np.column_stack([np.linspace(0.0, 6.0, 13), np.zeros(13)])), 0.2)
    discs = np.array([[5.9, y, 0.1] for y in np.arange(-2.0, 2.1, 0.1)])
    nominal = simulation(ROBOT).scenario("nominal", "undisturbed", 0)
    scenario = replace(nominal, reference=line, obstacles=discs, duration_s=9.0)
    log = run_episode(ROBOT, lambda _: make_controller(ROBOT, "nominal_mpc"), scenario, "").log
    assert clearance(ROBOT, Obstacles(discs), log.q).min() >= STOP_M and log.q[-1, 0] > 3.0
