# SPDX-License-Identifier: Apache-2.0
"""Ground that changes by place or from side to side, and the suite of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Command, Reference, State
from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.path_reference import driven
from metarl_robot.robots.ground.pure_pursuit import PurePursuit, PurePursuitConfig
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.proof import stays_on_course
from metarl_robot.sim.ground.simulation import GroundSimulation
from metarl_robot.sim.ground.suites import COURSE_WIDTHS, PATCH_WIDTHS
from metarl_robot.sim.ground.task import GroundTask, PatchedTask
from metarl_robot.sim.scenario import Scenario

CAR = load_robot("f1tenth")
assert isinstance(CAR, Ground)
ROAD, ICE = 0.9, 0.2


def _patched(x: float, y: float, radius: float) -> PatchedTask:
    return PatchedTask(friction=ROAD, patch_x_m=x, patch_y_m=y, patch_radius_m=radius, patch_friction=ICE)


def _braking(task: GroundTask) -> tuple[float, float]:
    """Mean deceleration [m/s²] along x, and mean yaw rate [rad/s], of a car that brakes with locked wheels."""
    plant = GroundPlant(CAR, task)
    plant.reset(v=np.array([5.0, 0.0, 0.0]))
    for _ in range(30):
        plant.step(np.array([0.0, CAR.effort_lower[1]]), 0.01)
    return (5.0 - plant.truth.v[0]) / 0.3, float(plant.truth.v[2])


def test_on_a_patch_the_car_brakes_as_on_ground_of_its_friction() -> None:
    road, ice, patch = (_braking(task)[0] for task in (GroundTask(friction=ROAD), GroundTask(friction=ICE),
                                                       _patched(0.0, 0.0, 10.0)))  # fmt: skip
    assert patch == ice < 1.1 * ICE * GRAVITY_M_S2 and road > 2.0 * ice
    assert _braking(_patched(0.0, 50.0, 10.0))[0] == road


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_car_that_brakes_with_one_side_on_ice_turns_away_from_it(side: float) -> None:
    task = _patched(0.0, side * (10.0 + 0.01), 10.0)
    slower, turning = _braking(task)
    assert ICE * GRAVITY_M_S2 < slower < _braking(GroundTask(friction=ROAD))[0]
    assert -side * turning > 0.3
    left, right = (ICE, ROAD) if side > 0.0 else (ROAD, ICE)
    split = GroundTask(friction=left, right_share=right / left)
    assert split.mean_friction == pytest.approx(0.5 * (ROAD + ICE)) and -side * _braking(split)[1] > 0.3


class Told(PurePursuit):
    """Records its place and the friction that it is told."""

    def reset(self) -> None:
        super().reset()
        self.told: list[tuple[float, float]] = []
        self.x = 0.0

    def observe_truth(self, task: GroundTask) -> None:
        self.told.append((self.x, task.mean_friction))

    def step(self, time: float, state: State, reference: Reference) -> Command:
        self.x = state.q[0]
        return super().step(time, state, reference)


def test_the_truth_is_told_when_the_car_is_on_the_patch_and_when_it_has_left_it() -> None:
    task, told = _patched(5.0, 0.0, 1.0), Told(CAR, PurePursuitConfig())
    reference = driven(CAR, courses.lane_change(CAR), 0.3)
    episode = run_episode(CAR, lambda _: told, Scenario("patch", task, (), reference, 4.0, 0, 0), "told")
    places, frictions = zip(*told.told, strict=True)
    assert frictions == (ROAD, ICE, ROAD)
    assert np.allclose(places, [0.0, 4.0, 6.0], atol=0.15)
    on = np.abs(episode.log.q[:, 0] - 5.0) < 0.95
    assert np.all(episode.log.truth[on, 0] == ICE) and np.all(episode.log.truth[:50, 0] == ROAD)


def test_a_task_with_a_patch_is_plain_data() -> None:
    task = replace(_patched(1.0, -2.0, 0.5), slope_rad=np.array([0.1, 0.0]))
    again = GroundSimulation.task_from_dict(task.to_dict())
    assert isinstance(again, PatchedTask) and again.to_dict() == task.to_dict()
    assert not isinstance(GroundSimulation.task_from_dict(GroundTask().to_dict()), PatchedTask)
    with pytest.raises(SignalError, match="patch_radius_m must be > 0; given 0.0"):
        _patched(0.0, 0.0, 0.0)
    plant = GroundPlant(CAR, GroundTask(friction=ROAD))
    plant.set_task(_patched(0.0, 0.0, 1.0))
    assert plant.task.mean_friction == ICE
    plant.set_task(GroundTask(friction=ROAD))
    assert plant.task.mean_friction == ROAD


def test_draws_of_the_suite_can_be_driven_without_foresight_and_repeat() -> None:
    room, width_m = GroundSimulation(CAR), CAR.description.size_m[1]
    made = room.scenario("surfaces", "ice_patch", 1000)
    assert isinstance(made.initial, PatchedTask) and not made.changes
    assert PATCH_WIDTHS[0] <= made.initial.patch_radius_m / width_m <= PATCH_WIDTHS[1]
    along = made.reference.path.at(made.reference.along).position
    place = (made.initial.patch_x_m, made.initial.patch_y_m)
    assert np.min(np.linalg.norm(along - place, axis=1)) < 0.05
    assert np.all(made.reference.widths == COURSE_WIDTHS * width_m)
    assert stays_on_course(CAR, made)


def test_ice_in_every_bend_is_no_run_of_the_suite() -> None:
    reference = driven(CAR, courses.circle(CAR), 0.8 * ROAD)
    reference = replace(reference, widths=np.full((len(reference.along), 2), 0.9))
    x, y = courses.circle(CAR).at(np.array([10.0])).position[0]
    run = Scenario("ice", _patched(x, y, 3.0), (), reference, 6.0, 0, 0)
    assert not stays_on_course(CAR, run)
