# SPDX-License-Identifier: Apache-2.0
"""A driver that is faster than the controller gets efforts within its own rate, and control does not suffer."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.safety.effort_ramp import EffortRamp
from metarl_robot.sim.kinds import simulation

PANDA = load_robot("panda")
DRIVER_S = 1e-3
ALLOWED = PANDA.effort_rate_limit * DRIVER_S * (1.0 + 1e-9)


def test_commands_within_the_effort_rate_are_reached_by_the_next_command_in_allowed_steps() -> None:
    rng, ramp, last = np.random.default_rng(4), EffortRamp(PANDA, DRIVER_S), np.zeros(7)
    ramp.restart(last)
    command = last
    for _ in range(200):
        command = command + rng.uniform(-1.0, 1.0, 7) * PANDA.effort_rate_limit * PANDA.control_period_s
        for _ in range(round(PANDA.control_period_s / DRIVER_S)):
            sent = ramp.next(command)
            assert np.all(np.abs(sent - last) <= ALLOWED)
            last = sent
        assert np.allclose(sent, command, atol=1e-9)


def test_the_first_command_acts_at_once_without_an_effort_to_begin_at() -> None:
    ramp = EffortRamp(PANDA, DRIVER_S)
    assert np.array_equal(ramp.next(np.full(7, 9.0)), np.full(7, 9.0))
    ramp.restart(np.zeros(7))
    assert np.allclose(ramp.next(np.full(7, 9.0)), 1.0)


@pytest.mark.parametrize("period_s", [0.0, -1e-3, 0.006, np.nan])
def test_a_period_that_is_no_driver_s_is_refused(period_s: float) -> None:
    with pytest.raises(SignalError, match="driver_period_s"):
        EffortRamp(PANDA, period_s)


@pytest.mark.slow
def test_tracking_through_the_ramp_is_as_good() -> None:
    """Without it, a third of offset_free_mpc's commands stepped by more than 1 Nm."""
    room = simulation(PANDA)
    scenario, errors, steps = room.scenario("heldout", "pickup", 1001), [], []
    for ramped in (False, True):
        law, plant = make_controller(PANDA, "offset_free_mpc"), room.plant(scenario.initial, 1)
        ramp, sent, off = EffortRamp(PANDA, DRIVER_S), [], []
        start = scenario.reference.sample(np.zeros(1))
        state = plant.reset(start.q[0], start.v[0])
        while plant.time < 0.8:
            command = law.step(plant.stamp, state, scenario.reference).effort
            for _ in range(5):
                sent.append(ramp.next(command) if ramped else command)
                state = plant.step(sent[-1], DRIVER_S)
            off.append(plant.truth.q - scenario.reference.sample(np.array([plant.time])).q[0])
        errors.append(float(np.sqrt(np.mean(np.square(off)))))
        steps.append(np.abs(np.diff(sent, axis=0)))
    assert errors[1] <= 1.05 * errors[0]
    assert steps[0].max() > ALLOWED.max() >= steps[1].max()
