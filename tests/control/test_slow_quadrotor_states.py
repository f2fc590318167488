# SPDX-License-Identifier: Apache-2.0
"""Quadrotors with slow states: an adapter for that rate is used, and learning is never worse than observing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Command, State, Status
from metarl_robot.robots.quadrotor.slow_states import LEARNS_HZ, OBSERVES_HZ
from metarl_robot.robots.quadrotor.trajectories import FigureEight
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from tests.noisy_quadrotor import NOISY

X500, EIGHT = load_robot("x500"), FigureEight(np.array([0.0, 0.0, 2.0]))
LOADED = replace(NOISY, mass_scale=1.15)


def fly(name: str, periods: int, imu: bool = True) -> tuple[np.ndarray, Command]:
    """Distances from the reference (K,) [m] with a state every few control periods, and the last command."""
    plant, law, errors = QuadrotorPlant(X500, LOADED, 1001), make_controller(X500, name), []
    state = plant.reset(EIGHT.sample(np.zeros(1)).q[0])
    while plant.time < 3.0:
        command = law.step(plant.stamp, state if imu else State(state.q, state.v), EIGHT)
        for _ in range(periods):
            state = plant.step(command.effort, X500.control_period_s)
            errors.append(np.linalg.norm(plant.truth.q[:3] - EIGHT.sample(np.array([plant.time])).q[0, :3]))
    return np.array(errors), command


@pytest.mark.parametrize(
    ("hz", "imu"),
    [(25, False), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((33, False), (25, True), (20, False)))],
)
def test_learning_from_slow_states_is_never_worse_than_observing(hz: int, imu: bool) -> None:
    """A filter for the control period learned nothing below 33 Hz: 37 mm off for good."""
    periods = round(X500.description.control_rate_hz / hz)
    (learned, command), (observed, _) = (fly(name, periods, imu) for name in ("meta_mpc", "offset_free_mpc"))
    rms, least = (float(np.sqrt(np.mean(errors[200:] ** 2))) for errors in (learned, observed))
    assert rms <= 1.05 * least + 1e-3 and learned.max() < 0.05
    assert (f"states come at {hz} Hz: learning needs" in command.message) == (hz < LEARNS_HZ)


def test_states_too_slow_for_the_observer_are_named_and_flown_by_the_nominal_model() -> None:
    """The observer lost the quadrotor at 15 Hz."""
    errors, command = fly("offset_free_mpc", 13)
    assert OBSERVES_HZ > 200 / 13 and errors.max() < 0.15
    assert command.status is Status.DEGRADED and "observing disturbances needs" in command.message


@pytest.mark.parametrize("late", [0, 2, 8])
def test_odometry_too_late_to_be_flown_is_named_before_the_quadrotor_is_lost(late: int) -> None:
    """Stamped on arrival, without an IMU, at 100 Hz; 80 ms are more than the filter's latencies."""
    plant, law, history, named = QuadrotorPlant(X500, NOISY, 1000), make_controller(X500, "offset_free_mpc"), [], []
    history.append(plant.reset(EIGHT.sample(np.zeros(1)).q[0]))
    while plant.time < 0.8:
        old = history[max(len(history) - 1 - late, 0)]
        command = law.step(plant.time, State(old.q, old.v), EIGHT)
        named.append("is the odometry late?" in command.message)
        history.append(plant.step(command.effort, 0.01))
    assert any(named) == (late == 8)
    assert np.linalg.norm(plant.truth.q[:3] - EIGHT.sample(np.array([plant.time])).q[0, :3]) < 0.2
