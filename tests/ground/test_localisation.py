# SPDX-License-Identifier: Apache-2.0
"""Odometry that drifts, corrected by a localiser's late and noisy poses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.robots.ground.localisation import KEPT_S, Localisation, compose, inverse
from metarl_robot.safety.input_validation import RELOCATED_COUNT
from metarl_robot.safety.refusals import Rejection

Array = NDArray[np.float64]

DT, CORRECTION_S = 0.01, 0.3
START = np.array([20.0, -10.0, 2.0])
"""Pose of odometry's origin in the world, before it drifts."""


def drifted(time_s: float) -> Array:
    """Odometry's pose [odom] on a circle at 3 m/s: 2 % of the way and 0.02 rad/s of yaw rate too much."""
    yaw_rate, speed = 0.6 + 0.02, 3.0 * 1.02
    radius = speed / yaw_rate
    yaw = yaw_rate * time_s
    return np.array([radius * np.sin(yaw), radius * (1.0 - np.cos(yaw)), yaw])


def true(time_s: float) -> Array:
    """Pose [world]."""
    yaw, radius = 0.6 * time_s, 5.0
    return compose(START, np.array([radius * np.sin(yaw), radius * (1.0 - np.cos(yaw)), yaw]))


class Drive:
    """Odometry at 100 Hz, poses every `every` steps that come `late` steps later with noise [m, m, rad]."""

    def __init__(self, every: int = 4, late: int = 5, noise: float = 0.0) -> None:
        self.localisation, self.step = Localisation(CORRECTION_S), 0
        self._every, self._late, self._noise = every, late, noise
        self._rng = np.random.default_rng(1)
        self.jump = np.zeros(3)

    def run(self, seconds: float) -> Array:
        """Corrected less true poses (N, 3); NaN before the first pose."""
        errors = []
        for _ in range(round(seconds / DT)):
            now = self.step * DT
            at = self.step - self._late
            if at >= 0 and at % self._every == 0:
                noise = self._noise * self._rng.standard_normal(3) * (1.0, 1.0, 0.3)
                self.localisation.localised(at * DT, compose(true(at * DT) + noise, self.jump))
            corrected = self.localisation.odometry(now, drifted(now))
            errors.append(np.full(3, np.nan) if corrected is None else corrected - true(now))
            self.step += 1
        return np.array(errors)


def test_poses_compose_and_invert() -> None:
    rng = np.random.default_rng(0)
    for first, second, place in rng.uniform(-3.0, 3.0, (20, 3, 3)):
        np.testing.assert_allclose(compose(first, inverse(first)), 0.0, atol=1e-12)
        np.testing.assert_allclose(
            compose(compose(first, second), place), compose(first, compose(second, place)), atol=1e-12
        )


@pytest.mark.parametrize("every", [2, 5])  # 50 and 20 Hz
def test_late_poses_remove_the_drift_from_the_first_one_on(every: int) -> None:
    """The rest is the drift within the time constant: 0.3 s x 2 % of 3 m/s, and of 0.02 rad/s."""
    errors = Drive(every, late=5).run(20.0)
    assert np.isnan(errors[:5]).all() and not np.isnan(errors[5:]).any()
    assert np.hypot(errors[5:, 0], errors[5:, 1]).max() < 1.2 * CORRECTION_S * 0.02 * 3.0 + 0.01
    assert np.abs(errors[5:, 2]).max() < 1.5 * CORRECTION_S * 0.02
    alone = drifted(20.0) - compose(inverse(START), true(20.0))
    assert np.hypot(*alone[:2]) > 1.0  # without poses


def test_noise_of_the_localiser_fades_and_leaves_no_steps() -> None:
    """At 25 Hz and 0.3 s, white noise is averaged over some 15 poses; one pose moves a state by 1/30 of its error."""
    quiet, noisy = Drive().run(20.0)[100:], Drive(noise=0.05).run(20.0)[100:]
    noise = noisy - quiet
    assert 0.0 < noise[:, :2].std() < 0.4 * 0.05
    assert np.abs(np.diff(noise[:, :2], axis=0)).max() < 0.01


def test_a_jump_is_refused_and_followed_once_enough_poses_agree() -> None:
    drive = Drive()
    drive.run(3.0)
    drive.jump = np.array([1.0, 0.0, 0.0])
    poses = RELOCATED_COUNT * 4
    before = drive.run((poses - 4) * DT)
    assert np.hypot(before[:, 0], before[:, 1]).max() < 0.05
    counts = drive.localisation.refusals.counts
    assert counts[Rejection.POSITION_JUMPED.value] == RELOCATED_COUNT - 1
    assert "followed after 10 poses" in drive.localisation.refusals.reason
    after = drive.run(1.0)[5:]
    assert np.abs(np.hypot(after[:, 0], after[:, 1]) - 1.0).max() < 0.05


def test_one_pose_elsewhere_changes_nothing() -> None:
    drive, undisturbed = Drive(), Drive()
    for each in (drive, undisturbed):
        each.run(3.0)
    drive.localisation.localised(2.99, np.array([0.0, 0.0, 0.0]))
    np.testing.assert_array_equal(drive.run(1.0), undisturbed.run(1.0))


def test_a_pose_before_its_odometry_waits_for_it() -> None:
    localisation = Localisation(CORRECTION_S)
    assert localisation.odometry(0.0, drifted(0.0)) is None
    localisation.localised(0.03, true(0.03))
    assert localisation.odometry(0.02, drifted(0.02)) is None
    corrected = localisation.odometry(0.03, drifted(0.03))
    assert corrected is not None
    np.testing.assert_allclose(corrected, true(0.03), atol=1e-9)


@pytest.mark.parametrize(
    ("stamp_s", "why"),
    [
        (3.0 - KEPT_S - 0.5, Rejection.STAMP_BACKWARDS),
        (2.9, Rejection.DUPLICATE),
        (3.0 + 2.0 * KEPT_S, Rejection.FUTURE),
    ],
)
def test_poses_of_the_wrong_time_are_refused(stamp_s: float, why: Rejection) -> None:
    drive, undisturbed = Drive(late=0, every=10), Drive(late=0, every=10)
    for each in (drive, undisturbed):
        each.run(3.0)
    drive.localisation.localised(stamp_s, true(2.9))
    assert drive.localisation.refusals.counts[why.value] == 1
    np.testing.assert_array_equal(drive.run(1.0), undisturbed.run(1.0))


def test_a_pose_later_than_the_odometry_that_is_kept_is_refused() -> None:
    localisation = Localisation(CORRECTION_S)
    localisation.odometry(0.0, drifted(0.0))
    localisation.localised(0.0, true(0.0))
    for step in range(300):
        localisation.odometry(step * DT, drifted(step * DT))
    before = localisation.odometry(3.0, drifted(3.0))
    localisation.localised(1.5, true(1.5))
    np.testing.assert_array_equal(localisation.odometry(3.0, drifted(3.0)), before)
    assert "1.5 s older than odometry; allowed: 1 s" in localisation.refusals.reason


def test_the_first_pose_may_be_from_before_the_odometry() -> None:
    """A robot that stands: the localiser is silent, and its last pose is minutes old."""
    localisation = Localisation(CORRECTION_S)
    for step in range(300):
        localisation.odometry(100.0 + step * DT, drifted(0.0))
    localisation.localised(10.0, true(0.0))
    corrected = localisation.odometry(103.0, drifted(0.0))
    assert corrected is not None
    np.testing.assert_allclose(corrected, true(0.0), atol=1e-9)


def test_a_time_base_that_starts_again_awaits_a_new_pose() -> None:
    drive = Drive()
    drive.run(3.0)
    assert drive.localisation.odometry(0.0, drifted(0.0)) is None
    drive.localisation.localised(0.0, true(0.0))
    corrected = drive.localisation.odometry(0.0, drifted(0.0))
    assert corrected is not None
    np.testing.assert_allclose(corrected, true(0.0), atol=1e-9)
