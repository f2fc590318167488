# SPDX-License-Identifier: Apache-2.0
"""Wheels that slip, an IMU with biases and a localiser's late poses: position and velocity of the vehicle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.ground.context_names import FRICTION
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.heading import turns
from metarl_robot.robots.ground.inertial_odometry import InertialOdometry
from metarl_robot.robots.ground.localisation import CORRECTION_S, Localisation, compose
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.simulation import GroundSimulation
from metarl_robot.sim.ground.task import GroundTask

Array = NDArray[np.float64]

CAR = load_robot("f1tenth")
assert isinstance(CAR, Ground)
DT, EVERY, LATE = 0.01, 4, 5
BIAS, GYRO_BIAS, SLOPE = np.array([0.3, -0.2, 0.1]), 0.02, np.array([0.05, -0.03])
START = np.array([7.0, -3.0, 1.0])
RATE, SPEED, SLIDING = 1.5, 4.0, -0.6


def true(time_s: float, stands_s: float) -> State:
    """A bend that is driven with side slip, after a stand."""
    since = max(time_s - stands_s, 0.0)
    moving = float(time_s >= stands_s)
    yaw, body = RATE * since, np.array([SPEED, SLIDING])
    turned = turns(yaw)[:2, :2] @ body - body
    place = np.array([turned[1], -turned[0]]) / RATE
    q = compose(START, np.array([*place, yaw]))
    return State(q, moving * np.array([*(turns(q[2])[:2, :2] @ body), RATE]))


class Drive:
    """Wheels without side slip, 10 % too fast when moving, at 100 Hz; IMU values with every `imu`-th of them."""

    def __init__(self, imu: int = 1, stands_s: float = 0.0, gravity: float = 1.0, rate: float = 1.0) -> None:
        self.localisation = Localisation(CORRECTION_S)
        self.odometry = InertialOdometry(self.localisation)
        self._imu, self._stands_s, self._gravity, self._rate = imu, stands_s, gravity, rate
        self._pose, self._rng, self.step = np.zeros(3), np.random.default_rng(1), 0
        self.jump = np.zeros(3)

    def run(self, seconds: float) -> list[tuple[State, State]]:
        """True states, and those found."""
        pairs = []
        for _ in range(round(seconds / DT)):
            now, at = self.step * DT, self.step - LATE
            if at >= 0 and at % EVERY == 0:
                noise = self._rng.standard_normal(3) * (0.01, 0.01, 0.005)
                pose = true(at * DT, self._stands_s).q + noise + self.jump
                self.localisation.localised(at * DT, pose)
            truth = true(now, self._stands_s)
            found = self.odometry.corrected(now, self._measured(now, truth))
            if found is not None:
                pairs.append((truth, found))
            self.step += 1
        return pairs

    def _measured(self, now: float, truth: State) -> State:
        moving = now >= self._stands_s and truth.v.any()
        wheels = np.array([1.1 * SPEED, 0.0, 0.9 * RATE]) * moving
        v = turns(self._pose[2]) @ wheels
        self._pose = self._pose + DT * v
        if self.step % self._imu:
            return State(self._pose, v)
        acceleration = RATE * np.array([-SLIDING, SPEED]) * moving
        up = turns(-truth.q[2])[:2, :2] @ SLOPE * GRAVITY_M_S2
        force = np.array([*(acceleration + up), self._gravity * GRAVITY_M_S2]) + BIAS * self._gravity
        force += 0.3 * self._rng.standard_normal(3) * self._gravity
        v[2] = self._rate * (truth.v[2] + GYRO_BIAS + 0.02 * self._rng.standard_normal())
        return State(self._pose, v, force)


def errors(pairs: list[tuple[State, State]]) -> tuple[Array, Array]:
    """Errors (N, 3) of pose, and of velocity along, across [m/s] and about."""
    q = np.array([found.q - truth.q for truth, found in pairs])
    v = np.array([turns(-truth.q[2]) @ (found.v - truth.v) for truth, found in pairs])
    return q, v


def rms(values: Array) -> Array:
    return np.asarray(np.sqrt(np.mean(np.square(values), axis=0)))


@pytest.mark.parametrize("imu", [1, 3])
def test_side_slip_is_found_also_by_an_imu_that_is_slower_than_the_odometry(imu: int) -> None:
    drive = Drive(imu)
    drive.run(2.0)
    q, v = errors(drive.run(3.0))
    assert np.all(rms(q) < [0.03, 0.03, 0.01])
    assert np.all(rms(v) < [0.13, 0.08, 0.04])  # the wheels' errors: 0.4, 0.6, 0.15


def test_biases_are_known_after_a_stand() -> None:
    drive = Drive(stands_s=2.0)
    _, v = errors(drive.run(2.0)[-50:])
    assert np.all(rms(v) < [0.02, 0.02, 0.03]) and abs(v[:, 2].mean()) < 0.01


def test_without_an_imu_states_are_those_of_the_wheels_and_it_is_named() -> None:
    drive, plain = Drive(imu=10**6), Localisation(CORRECTION_S)
    drive.odometry = InertialOdometry(drive.localisation)
    pairs = drive.run(2.0)
    q, v = errors(pairs)
    assert rms(q)[:2].max() > 0.08 and rms(v)[0] > 0.35
    assert "no measurement" in drive.odometry.imu.reason and drive.odometry.problem == ""
    plain.localised(0.0, START)
    first = plain.odometry(0.0, np.zeros(3))
    assert first is not None
    np.testing.assert_allclose(first, START)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"gravity": 1.0 / GRAVITY_M_S2}, "upward specific force is 1"),
        ({"gravity": -1.0}, "imu_rotation_wxyz right"),
        ({"gravity": 0.0}, "upward specific force is 0"),
        ({"rate": 180.0 / np.pi}, "mean yaw rate is"),
        ({"rate": -1.0}, "yaw rate differs"),
    ],
)
def test_an_imu_that_cannot_be_right_is_named(wrong: dict[str, float], words: str) -> None:
    drive = Drive(**wrong)  # type: ignore[arg-type]
    drive.run(3.0)
    assert words in drive.odometry.problem


def test_a_localiser_s_jump_is_followed_and_a_reset_of_the_time_begins_anew() -> None:
    drive = Drive()
    drive.run(2.0)
    drive.jump = np.array([5.0, 0.0, 0.0])
    drive.run(1.0)
    q, _ = errors(drive.run(0.5))
    assert np.all(np.abs(np.linalg.norm(q[:, :2], axis=1) - 5.0) < 0.1)
    drive.step, drive.jump = 0, np.zeros(3)
    drive.run(1.5)
    q, v = errors(drive.run(1.0))
    assert rms(q)[:2].max() < 0.05 and rms(v)[:2].max() < 0.15


def test_a_state_is_taken_once_and_one_before_the_first_pose_is_awaited() -> None:
    localisation = Localisation(CORRECTION_S)
    odometry = InertialOdometry(localisation)
    measured = State(np.zeros(3), np.zeros(3), np.array([0.0, 0.0, GRAVITY_M_S2]))
    assert odometry.corrected(1.0, measured) is None
    localisation.localised(1.0, START)
    first = odometry.corrected(1.0, measured)
    assert first is not None and odometry.corrected(1.0, measured) is first
    np.testing.assert_allclose(first.q, START)


def driven(task: GroundTask) -> tuple[Array, Array]:
    """Errors (N, 3) of measured pose and velocity on a slippery bend, from 1 s on."""
    plant = GroundPlant(CAR, task, 3)
    plant.reset(v=np.array([3.0, 0.0, 0.0]))
    pairs = []
    for k in range(300):
        state = plant.step(np.array([0.3 + 0.1 * np.sin(0.05 * k), 0.25]), DT)
        pairs.append((plant.truth, state))
    return errors(pairs[100:])


@pytest.mark.parametrize("imu", [False, True])
def test_side_slip_of_a_simulated_vehicle_is_found_with_and_without_an_imu(imu: bool) -> None:
    task = GroundTask(friction=0.5, slope_rad=np.array([0.05, 0.0]), wheel_odometry=True, position_noise_m=0.003)
    if imu:
        task = replace(task, imu=True, accelerometer_bias_m_s2=BIAS, accelerometer_noise_m_s2=0.3, gyro_bias_rad_s=0.01)
    pose, velocity = driven(task)
    assert rms(pose)[:2].max() < 0.03 and rms(velocity)[1] < 0.15


def test_lasting_errors_of_inertial_odometry_are_no_changes_and_friction_is_learned() -> None:
    friction = 0.5
    errors = {"position_noise_m": 0.003, "velocity_noise_m_s": 0.02, "gyro_bias_rad_s": 0.01}
    imu = {"imu": True, "accelerometer_bias_m_s2": BIAS, "accelerometer_noise_m_s2": 0.3}
    plant = GroundPlant(CAR, GroundTask(friction=friction, wheel_odometry=True, **imu, **errors), 3)
    adapter, effort = make_controller(CAR, "meta_mpc").adapter, np.zeros(2)
    adapter.reset()
    plant.reset(v=np.array([3.0, 0.0, 0.0]))
    for k in range(600):
        state = plant.step(effort, DT)
        context = adapter.update(state, effort, DT)
        np.testing.assert_array_equal(adapter.estimate(state).q, state.q)
        effort = np.array([0.2 * np.sin(0.03 * k), 0.5 * (3.0 - np.hypot(*plant.truth.v[:2]))])
    mean, std = context[FRICTION]
    assert adapter.detections <= 1 and abs(mean - np.log(friction / CAR.friction)) < min(2.0 * std, 0.3)


def test_the_suite_s_runs_differ_in_their_sensors_only_and_data_keep_their_keys() -> None:
    room = GroundSimulation(CAR)
    wheels, imu = (room.scenario("sensors", kind, 1000).initial for kind in ("wheels", "wheels_imu"))
    assert wheels.wheel_odometry and not wheels.imu and imu.imu
    different = {key for key, value in imu.to_dict().items() if wheels.to_dict().get(key) != value}
    assert different == {"imu", "accelerometer_noise_m_s2", "accelerometer_bias_m_s2", "gyro_bias_rad_s"}
    assert not {"wheel_odometry", *different} & set(GroundTask().to_dict())
    with pytest.raises(Exception, match="wheel_odometry to true"):
        GroundTask(imu=True)
