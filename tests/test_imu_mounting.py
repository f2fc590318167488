# SPDX-License-Identifier: Apache-2.0
"""An IMU that is turned and away from the base's origin gives the values of one at the base."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.imu_mounting import ImuMounting, MountingError
from metarl_robot.core.signals import Inertial

GRAVITY = np.array([0.0, 0.0, -9.81])
TURN = rotation.exp(np.array([0.4, -1.1, 2.0]))
PLACE = np.array([0.12, -0.05, 0.3])


def path(t: float) -> np.ndarray:
    """Where a body is that tumbles; twice differentiable."""
    return np.array([np.sin(2.0 * t), 0.5 * np.cos(3.0 * t), 0.2 * t])


def attitude(t: float) -> np.ndarray:
    return rotation.multiply(
        rotation.exp(np.array([0.0, 0.0, 1.5 * t])), rotation.exp(np.array([0.8 * np.sin(4.0 * t), 0.3, 0.0]))
    )


def rate(t: float, h: float = 1e-5) -> np.ndarray:
    return rotation.error(attitude(t - h), attitude(t + h)) / (2.0 * h)


def force(t: float, place: np.ndarray, h: float = 1e-4) -> np.ndarray:
    """Specific force [body] at a point of the body, by differences of its place in the world."""

    def at(time: float) -> np.ndarray:
        return path(time) + rotation.rotate(attitude(time), place)

    acceleration = (at(t + h) - 2.0 * at(t) + at(t - h)) / h**2
    return rotation.rotate_back(attitude(t), acceleration - GRAVITY)


def measured(t: float) -> Inertial:
    """By the IMU, in its own axes."""
    own = rotation.multiply(attitude(t), TURN)
    return Inertial(rotation.rotate_back(TURN, force(t, PLACE)), rotation.rotate_back(TURN, rate(t)), own)


def test_a_mounted_imu_says_what_one_at_the_base_says() -> None:
    mounting, times = ImuMounting(TURN, PLACE), np.arange(0.5, 0.7, 0.001)
    got = [mounting.to_base(measured(t), t) for t in times]
    for t, inertial in list(zip(times, got, strict=True))[1:]:
        assert np.allclose(inertial.rate, rate(t), atol=1e-6)
        # m/s²: the difference quotient is half a step late
        assert np.allclose(inertial.specific_force, force(t, np.zeros(3)), atol=0.03)
        assert min(np.abs(inertial.attitude - s * attitude(t)).max() for s in (1, -1)) < 1e-9


def test_without_the_lever_arm_it_would_not() -> None:
    wrong = ImuMounting(TURN).to_base(measured(0.6), 0.6)
    assert np.abs(wrong.specific_force - force(0.6, np.zeros(3))).max() > 1.0


def test_the_noise_of_the_angular_acceleration_averages_out() -> None:
    """The mean over n measurements holds the difference of two rates alone."""
    mounting, rng = ImuMounting(position_m=PLACE), np.random.default_rng(0)
    rates = rng.normal(0.0, 0.01, (101, 3))
    forces = [mounting.to_base(Inertial(np.zeros(3), w), 0.001 * k).specific_force for k, w in enumerate(rates)]
    mean = np.cross((rates[-1] - rates[0]) / 0.1, PLACE)
    assert np.allclose(-np.mean(forces[1:], axis=0), mean, atol=1e-3)


def test_rates_far_apart_or_of_another_time_base_give_no_angular_acceleration() -> None:
    mounting, still = ImuMounting(position_m=PLACE), np.zeros(3)
    for stamp in (10.0, 9.0, 9.0, 12.0):
        got = mounting.to_base(Inertial(np.zeros(3), still if stamp == 10.0 else np.ones(3)), stamp)
        assert np.abs(got.specific_force).max() < 1.0


def test_an_imu_at_the_base_is_left_alone() -> None:
    inertial = Inertial(np.ones(3), np.ones(3))
    assert ImuMounting().to_base(inertial, 0.0) is inertial


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"rotation_wxyz": (0.0, 0.0, 0.0, 0.0)}, "imu_rotation_wxyz is .* unit quaternion"),
        ({"rotation_wxyz": (float("nan"), 0.0, 0.0, 1.0)}, "imu_rotation_wxyz"),
        ({"rotation_wxyz": (1.0, 0.0, 0.0)}, "imu_rotation_wxyz"),
        ({"position_m": (0.0, float("inf"), 0.0)}, "imu_position_m"),
        ({"position_m": (0.0,)}, "imu_position_m"),
    ],
)
def test_what_is_no_mounting_is_refused(arguments: dict, why: str) -> None:
    with pytest.raises(MountingError, match=why):
        ImuMounting(**arguments)
