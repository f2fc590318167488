# SPDX-License-Identifier: Apache-2.0
"""Side slip and understeer without an IMU: wheels and a localiser's late and noisy poses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.core.signals import State
from metarl_robot.robots.ground.heading import turns
from metarl_robot.robots.ground.localisation import CORRECTION_S, Localisation, compose
from metarl_robot.robots.ground.slip_odometry import MOST_STD, SlipOdometry

Array = NDArray[np.float64]

DT, EVERY, LATE = 0.01, 4, 5
BODY = np.array([4.0, -0.6, 1.5])
"""True twist of a bend that is driven with side slip."""
WHEELS = np.array([4.2, 0.0, 1.8])
"""What the wheels show."""
START = np.array([7.0, -3.0, 1.0])


def true(time_s: float) -> Array:
    """Pose on the circle."""
    yaw = BODY[2] * time_s
    moved = turns(yaw)[:2, :2] @ BODY[:2] - BODY[:2]
    return compose(START, np.array([moved[1] / BODY[2], -moved[0] / BODY[2], yaw]))


class Drive:
    """Wheels at 100 Hz, poses of a localiser at 25 Hz, 50 ms late, with noise [m, m, rad]."""

    def __init__(self, noise: float) -> None:
        self.localisation = Localisation(CORRECTION_S)
        self.odometry, self._noise = SlipOdometry(self.localisation), noise * np.array([1.0, 1.0, 0.3])
        self._pose, self._rng, self.step = np.zeros(3), np.random.default_rng(1), 0
        self.jump = np.zeros(3)

    def run(self, seconds: float) -> tuple[Array, Array]:
        """Errors (N, 3) of pose [world] and twist [body]."""
        errors = []
        for _ in range(round(seconds / DT)):
            now, at = self.step * DT, self.step - LATE
            if at >= 0 and at % EVERY == 0:
                noise = self._noise * self._rng.standard_normal(3)
                self.localisation.localised(at * DT, true(at * DT) + noise + self.jump)
            found = self.odometry.corrected(now, State(self._pose, turns(self._pose[2]) @ WHEELS))
            if found is not None:
                truth = true(now)
                errors.append([found.q - truth, turns(-truth[2]) @ found.v - BODY])
            self._pose = self._pose + DT * (turns(self._pose[2] + 0.5 * DT * WHEELS[2]) @ WHEELS)
            self.step += 1
        q, v = np.array(errors).transpose(1, 0, 2)
        return q, v


def rms(values: Array) -> Array:
    return np.asarray(np.sqrt(np.mean(np.square(values), axis=0)))


def test_slip_is_found_by_the_poses() -> None:
    drive = Drive(0.005)
    drive.run(3.0)
    q, v = drive.run(3.0)
    assert np.all(rms(q) < [0.02, 0.02, 0.01])
    assert np.all(rms(v) < [0.06, 0.2, 0.1])  # the wheels' errors: 0.2, 0.6, 0.3


def test_a_noisy_localiser_is_smoothed() -> None:
    drive = Drive(0.05)
    drive.run(4.0)
    q, v = drive.run(4.0)
    assert rms(q)[:2].max() < 0.8 * 0.05 and rms(v)[:2].max() < 0.6
    assert np.all(rms(np.diff(q[:, :2], axis=0)) < 0.3 * 0.05), "it does not jump with its poses"


def test_slip_without_poses_fades_and_stays_finite() -> None:
    drive = Drive(0.005)
    drive.run(3.0)
    for k in range(1000):
        found = drive.odometry.corrected(3.0 + DT * k, State(np.zeros(3), np.zeros(3)))
    assert found is not None and np.isfinite(found.q).all()
    np.testing.assert_array_equal(found.v, turns(found.q[2]) @ drive.odometry._mean[3:6])
    assert np.linalg.norm(found.v) < 1e-3, "a vehicle that stands does not slip"


def test_a_jump_is_followed_and_a_reset_of_the_time_begins_anew() -> None:
    drive = Drive(0.005)
    drive.run(2.0)
    drive.jump = np.array([5.0, 0.0, 0.0])
    drive.run(1.0)
    q, _ = drive.run(0.5)
    assert np.all(np.abs(np.linalg.norm(q[:, :2], axis=1) - 5.0) < 0.1)
    drive.step, drive.jump = 0, np.zeros(3)
    drive.run(1.5)
    q, _ = drive.run(1.0)
    assert rms(q)[:2].max() < 0.05


def test_a_gap_and_a_repeated_time_leave_a_valid_state() -> None:
    drive = Drive(0.005)
    drive.run(2.0)
    last = drive.odometry.corrected(drive.step * DT - DT, State(np.zeros(3), np.zeros(3)))
    again = drive.odometry.corrected(drive.step * DT - DT, State(np.ones(3), np.ones(3)))
    assert last is again
    drive.step += 50
    q, _ = drive.run(2.0)
    assert rms(q[100:])[:2].max() < 0.05


@pytest.mark.parametrize("noise", [0.005, 0.05])
def test_the_localiser_s_noise_is_estimated(noise: float) -> None:
    drive = Drive(noise)
    drive.run(8.0)
    position, _ = np.sqrt(drive.odometry._variance)
    assert max(0.5 * noise, 0.009) < position < max(2.0 * noise, 0.011) and position < MOST_STD[0]
