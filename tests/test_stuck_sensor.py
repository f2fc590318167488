# SPDX-License-Identifier: Apache-2.0
"""Positions that repeat while the robot moves: refused, and controllers stay near their reference without them."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Setpoints, State, Status
from metarl_robot.safety.stuck_sensor import LEAST_M, MEMORY_S, StuckSensor
from metarl_robot.sim.kinds import simulation

PANDA, PLANAR, X500, HUSKY = (load_robot(name) for name in ("panda", "planar2", "x500", "husky"))
PERIOD_S = 0.005


def verdicts(robot: Robot, positions: np.ndarray, velocities: np.ndarray) -> list[str | None]:
    """Verdicts on a sequence of first coordinates (K,) with their velocities (K,); the others stay at home."""
    check, found = StuckSensor(robot), []
    for k, (position, velocity) in enumerate(zip(positions, velocities, strict=True)):
        q, v = robot.home.copy(), np.zeros(robot.dof)
        q[0], v[0] = position, velocity
        found.append(check.found(PERIOD_S * k, q.tolist(), v.tolist()))
    return found


@pytest.mark.parametrize("robot", [PANDA, X500, HUSKY], ids=lambda robot: robot.name)
def test_a_repeated_sample_is_refused_as_soon_as_it_claims_motion(robot: Robot) -> None:
    speed, moved = 0.6, 20
    times = PERIOD_S * np.minimum(np.arange(40), moved)
    found = verdicts(robot, speed * times, np.full(40, speed))
    first = moved + 1 + int(LEAST_M / (speed * PERIOD_S))
    assert found[:first] == [None] * first
    assert all(said is not None and "bit for bit" in said for said in found[first:])


def test_one_joint_s_stuck_position_is_refused_and_named_while_the_others_move() -> None:
    check, q, v = StuckSensor(PANDA), PANDA.home.copy(), np.full(7, 0.5)
    for k in range(30):
        moving = np.arange(7) != 3 if k > 10 else np.ones(7, bool)
        q = q + np.where(moving, v * PERIOD_S, 0.0)
        said = check.found(PERIOD_S * k, q.tolist(), (v + 1e-3 * k).tolist())
    assert said is not None and "panda_joint4" in said and "sensor stuck" in said


def test_rest_coarse_encoders_and_sensors_slower_than_their_driver_are_used() -> None:
    k, drift = np.arange(2000), 0.9 * LEAST_M / MEMORY_S  # a wrong zero of the velocity
    assert not any(verdicts(PANDA, np.zeros(2000), np.full(2000, drift)))
    assert not any(verdicts(PANDA, np.zeros(2000), 3e-3 * (-1.0) ** k))
    q, v = 0.5 * np.sin(2.0 * PERIOD_S * k), np.cos(2.0 * PERIOD_S * k)
    assert not any(verdicts(PANDA, np.round(q / 1.5e-3) * 1.5e-3, v))
    assert not any(verdicts(PANDA, np.zeros(8), 0.4 * (-1.0) ** k[:8]))  # turned round between two slow states
    held = k - k % 4  # a sensor at 50 Hz, a driver at 200
    refused = [step for step, said in enumerate(verdicts(PANDA, q[held], v[held])) if said is not None]
    assert all(step < 4 for step in refused)
    used = verdicts(HUSKY, q[held], v)  # a localiser slower than odometry
    assert not any(used)


class Turning:
    """Both joints swing."""

    def sample(self, times: np.ndarray) -> Setpoints:
        phase, w = 3.0 * times[:, None] + np.array([0.0, 1.0]), 3.0
        return Setpoints(PLANAR.home + 0.3 * np.sin(phase), 0.3 * w * np.cos(phase), -0.3 * w * w * np.sin(phase))


def swung(name: str, fault_s: float, broken: str) -> tuple[np.ndarray, list[Status], np.ndarray]:
    """Joint errors (K, 2), statuses and speeds over the limit (K,); samples fail from 1 s on, for a time."""
    task, reference = simulation(PLANAR).nominal_task(), Turning()
    plant, controller = simulation(PLANAR).plant(task, 1), make_controller(PLANAR, name)
    start = reference.sample(np.zeros(1))
    state = last = plant.reset(start.q[0], start.v[0])
    errors, statuses, speeds = [], [], []
    for k in range(round((2.0 + fault_s) / PERIOD_S)):
        faulty = 1.0 <= k * PERIOD_S < 1.0 + fault_s
        last = last if faulty else state
        given = State(np.full(2, np.nan), np.zeros(2)) if faulty and broken == "nan" else last
        command = controller.step(plant.stamp, given, reference)
        state = plant.step(command.effort, PERIOD_S)
        errors.append(np.abs(plant.truth.q - reference.sample(np.array([plant.time])).q[0]))
        speeds.append(np.abs(plant.truth.v / PLANAR.velocity_limit).max())
        statuses.append(command.status)
    return np.array(errors), statuses, np.array(speeds)


@pytest.mark.parametrize("name", ["offset_free_mpc", "meta_mpc"])
def test_a_driver_that_repeats_its_sample_does_not_push_an_arm_off_its_path(name: str) -> None:
    """For 0.15 s. When the repeated samples were believed, planar2 was 2.7 and 1.0 rad off."""
    errors, statuses, speeds = swung(name, 0.15, "repeated")
    assert errors.max() < 0.02
    assert speeds.max() < 1.0
    assert statuses[-1] is Status.SOLVED and Status.FAILED not in statuses


@pytest.mark.parametrize("name", ["offset_free_mpc", "meta_mpc"])
def test_an_arm_without_states_comes_to_rest(name: str) -> None:
    """For 0.8 s: the plan ends after 0.4 s. Braking against the last measured velocity gave 1.4 times the limit."""
    errors, statuses, speeds = swung(name, 0.8, "nan")
    stopped = slice(round(1.45 / PERIOD_S), round(1.8 / PERIOD_S))
    assert statuses[stopped.stop - 1] is Status.FAILED
    assert speeds[stopped].max() < 0.1
    assert statuses[-1] is Status.SOLVED and errors[-1].max() < 2e-3
