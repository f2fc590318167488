# SPDX-License-Identifier: Apache-2.0
"""Speeds that are lowered to what the believed friction allows, and laps on unknown ground."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.path import Path
from metarl_robot.robots.ground.path_reference import PathReference, driven
from metarl_robot.robots.ground.route import Route, RouteConfig
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.ground.course_edges import lap_times
from metarl_robot.sim.ground.simulation import GroundSimulation
from metarl_robot.sim.ground.task import GroundTask
from metarl_robot.sim.scenario import Scenario

CAR = load_robot("f1tenth")
assert isinstance(CAR, Ground)
GRIP_SHARE = 0.8


def _course(path: Path) -> PathReference:
    """As fast as the nominal friction allows, with edges."""
    reference = driven(CAR, path, CAR.friction)
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

    def driven_by(grip: float) -> dict:
        run = Scenario("lap", task, (), replace(reference, speed_grip=grip), 10.0, 0, 0)
        return dict(run_episode(CAR, lambda _: controller, run).result.measures)

    as_given, believed = driven_by(0.0), driven_by(GRIP_SHARE)
    assert as_given["left_course"] > 0.0
    assert believed["left_course"] == 0.0 and believed["spins"] == 0.0 and believed["least_margin_m"] > 0.2
    assert believed["first_lap_s"] < 9.0 and believed["second_lap_s"] is None


def test_the_suite_asks_for_the_fastest_lap() -> None:
    run = GroundSimulation(CAR).scenario("laps", "fastest", 1000)
    assert run.reference.speed_grip == GRIP_SHARE and not run.changes and run.reference.path.closed
