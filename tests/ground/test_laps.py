# SPDX-License-Identifier: Apache-2.0
"""Speeds that are lowered to what the believed friction allows, and laps on unknown ground."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import load_config, make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.flat_outputs import GroundOutputs
from metarl_robot.robots.ground.path import Path
from metarl_robot.robots.ground.path_reference import PathReference, driven
from metarl_robot.robots.ground.route import Route, RouteConfig
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.ground.course_edges import edge_margin, lap_times
from metarl_robot.sim.ground.cross_track import nearest_on
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.simulation import GroundSimulation
from metarl_robot.sim.ground.task import GroundTask
from metarl_robot.sim.scenario import Scenario
from metarl_robot.trajectories.reference_manager import ReferenceManager

CAR = load_robot("f1tenth")
assert isinstance(CAR, Ground)
GRIP_SHARE, RNG = 0.8, np.random.default_rng(0)


def _course(path: Path, share: float = 1.0) -> PathReference:
    """As fast as a share of the nominal friction allows, with edges."""
    reference = driven(CAR, path, share * CAR.friction)
    return replace(reference, widths=np.full((len(reference.along), 2), 0.9))


@pytest.mark.parametrize("of_reference", [False, True])
def test_speeds_are_lowered_to_the_believed_friction_and_the_line_stays(of_reference: bool) -> None:
    reference = _course(courses.raceway(CAR, np.random.default_rng(0)))
    config = RouteConfig() if of_reference else RouteConfig(speed_grip=GRIP_SHARE)
    reference = replace(reference, speed_grip=GRIP_SHARE) if of_reference else reference
    route = Route(CAR, config)
    for friction in (0.3, 0.7):
        route.reset()
        route.friction, used = friction, 0.0
        for time in np.arange(2.0, 2.0 + reference.lap_s, 0.3):
            on = reference.sample(np.array([time]))
            found = route.nearest(reference, time, on.q[0], 1.0, 2.0)
            assert found is not None
            points = found.reference.sample(found.time_s + np.arange(0.05, 2.0, 0.02))
            line = reference.path.at(np.arange(0.0, reference.path.length_m, 0.02)).position
            away = np.linalg.norm(points.q[:, None, :2] - line, axis=2).min(axis=1)
            assert away.max() < 0.02  # half the spacing of the line's points
            side = np.abs(np.cos(points.q[:, 2]) * points.a[:, 1] - np.sin(points.q[:, 2]) * points.a[:, 0])
            used = max(used, side.max())
            assert np.hypot(*points.v[:, :2].T).max() <= 1.001 * reference.speed.max()
        assert 0.8 < used / (GRIP_SHARE * friction * GRAVITY_M_S2) < 1.1


def test_without_it_the_reference_is_driven_as_given() -> None:
    reference = _course(courses.oval(CAR))
    found = Route(CAR, RouteConfig()).nearest(reference, 2.0, reference.sample(np.array([2.0])).q[0], 1.0)
    assert found is not None and found.reference is reference


def test_laps_are_timed_where_they_end() -> None:
    reference = _course(courses.circle(CAR))
    times = np.arange(0.0, 40.0, 0.01)
    along = 0.5 * times + 0.02 * times**2  # accelerates
    place = reference.path.at(along).position * 1.01
    ends = [(-0.5 + np.sqrt(0.25 + 0.08 * lap * reference.path.length_m)) / 0.04 for lap in (1, 2)]
    assert lap_times(reference, times, place) == pytest.approx(np.diff([0.0, *ends]), abs=0.05)
    assert len(lap_times(reference, times[:500], place[:500])) == 0


def test_on_ice_a_car_that_believes_its_estimate_stays_on_its_course() -> None:
    controller = make_controller(CAR, "meta_mpc")
    reference, task = _course(courses.oval(CAR)), GroundTask(friction=0.4)

    def driven_by(grip: float, duration_s: float) -> dict:
        run = Scenario("lap", task, (), replace(reference, speed_grip=grip), duration_s, 0, 0)
        return dict(run_episode(CAR, lambda _: controller, run).result.measures)

    as_given, believed = driven_by(0.0, 4.0), driven_by(GRIP_SHARE, 8.6)
    assert as_given["left_course"] > 0.0
    assert believed["left_course"] == 0.0 and believed["spins"] == 0.0 and believed["least_margin_m"] > 0.2
    assert believed["first_lap_s"] < 8.6 and believed["second_lap_s"] is None


@pytest.mark.parametrize(("name", "motion"), [("f1tenth", "fast oval"), ("husky", "figure_eight")])
def test_a_start_from_rest_does_not_move_the_path(name: str, motion: str) -> None:
    robot = load_robot(name)
    assert isinstance(robot, Ground)
    flat, fast = GroundOutputs(robot), motion.startswith("fast")
    reference = driven(CAR, courses.oval(CAR), 0.9 * CAR.friction) if fast else flat.motion(motion, RNG, 10.0)
    assert isinstance(reference, PathReference)
    manager, times = ReferenceManager(robot), np.arange(0.0, 5.0, 0.05)
    manager.hold(robot.home)
    manager.offer(times, flat.outputs(reference, times), 0.0)
    assert manager.current is not None
    line = reference.path.at(np.arange(0.0, reference.path.length_m, 0.01)).position
    places = manager.current.sample(times).q[:, :2]
    assert np.linalg.norm(places[:, None] - line, axis=2).min(axis=1).max() < 0.01


def test_on_ice_it_stays_on_a_course_that_arrives_in_parts() -> None:
    """As over ROS 2: a part each second, by the reference's times, behind which the car falls."""
    reference, flat = _course(courses.oval(CAR), 0.9), GroundOutputs(CAR)
    controller = make_controller(CAR, "meta_mpc", load_config(CAR, "meta_mpc", {"speed_grip": GRIP_SHARE}))
    manager = ReferenceManager(CAR)
    plant, times = GroundPlant(CAR, GroundTask(friction=0.5)), np.arange(0.0, 6.0, 0.01)
    controller.reset()
    state, poses = plant.reset(), []
    manager.hold(state.q)
    for time in times:
        if np.isclose(time % 1.0, 0.0):
            part = time + np.arange(0.0, 5.0, 0.05)
            manager.offer(part, flat.outputs(reference, part), float(time))
        poses.append(plant.truth.q)
        assert manager.current is not None
        state = plant.step(controller.step(float(time), state, manager.current).effort, 0.01)
    assert edge_margin(CAR, reference, times, np.array(poses)).min() > 0.3
    line = reference.path.at(np.arange(0.0, reference.path.length_m, 0.01)).position
    _, along = nearest_on(line, np.array(poses)[:, :2])
    assert 18.0 < along[-1] < reference.progress(times[-1:])[0][0] - 10.0  # a lap takes 8 s; two parts behind


def test_the_suite_asks_for_the_fastest_lap() -> None:
    run = GroundSimulation(CAR).scenario("laps", "fastest", 1000)
    assert run.reference.speed_grip == GRIP_SHARE and not run.changes and run.reference.path.closed
