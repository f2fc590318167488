# SPDX-License-Identifier: Apache-2.0
"""Shadow mode without ROS: predictions before learning, rates of states, pauses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.control.shadow import WINDOW_S, Observation, Shadow
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import nominal_task
from metarl_robot.sim.payload.body import Payload

ARM = load_robot("planar2")
MASS_KG = 0.5


def learner(name: str = "meta_mpc") -> Any:
    return lambda robot: make_controller(robot, name).inner


def driven(shadow: Shadow, robot: Robot, states_hz: float, duration_s: float) -> list[Observation]:
    """Observations while a plain controller moves an arm with a payload."""
    loaded = nominal_task(robot)
    loaded = type(loaded)(Payload(MASS_KG), loaded.coulomb_nm, loaded.viscous_nm_s, loaded.motor_strength)
    plant, dynamics, made = ArmPlant(robot, loaded), ArmDynamics(robot), []
    state, effort, period_s = plant.measure(), np.zeros(robot.dof), 1.0 / states_hz
    for k in range(round(duration_s * states_hz)):
        observed = shadow.observe(k * period_s, state, effort)
        made += [observed] if observed is not None else []
        wanted = robot.home + 0.6 * np.sin(np.array([2.0, 3.0]) * k * period_s)
        effort = dynamics.bias(state.q, state.v) + 40.0 * (wanted - state.q) - 4.0 * state.v
        state = plant.step(effort, period_s)
    return made


def found(observed: Observation) -> bool:
    """Whether the payload's mass is estimated; a weak motor explains a payload that was there from the start, too."""
    mean, std = observed.context["payload_mass_kg"]
    return abs(mean - MASS_KG) < 3.0 * std < 0.9 * MASS_KG


def test_it_predicts_before_it_learns_and_finds_the_payload() -> None:
    shadow = Shadow(ARM, learner())
    observed = driven(shadow, ARM, 200.0, 3.0)
    predictions = [each.prediction for each in observed if each.prediction is not None]
    assert len(predictions) == pytest.approx(3.0 / WINDOW_S, abs=2)
    first = predictions[0].predicted - predictions[0].measured
    assert np.linalg.norm(first) > 0.1 * np.linalg.norm(predictions[0].measured), "it had to learn first"
    assert np.allclose(predictions[-1].predicted, predictions[-1].measured, atol=0.05)
    assert shadow.error_ratio is not None and shadow.error_ratio < 0.3
    assert found(observed[-1])


def test_without_adaptation_predictions_are_as_good_as_the_nominal_model() -> None:
    shadow = Shadow(ARM, learner("nominal_mpc"))
    driven(shadow, ARM, 200.0, 1.0)
    assert shadow.error_ratio == pytest.approx(1.0)


@pytest.mark.parametrize(("states_hz", "taken_hz"), [(1000.0, 200.0), (100.0, 100.0)])
def test_states_come_at_any_rate(states_hz: float, taken_hz: float) -> None:
    shadow = Shadow(ARM, learner())
    observed = driven(shadow, ARM, states_hz, 3.0)
    assert len(observed) == pytest.approx(3.0 * taken_hz, abs=10)
    assert found(observed[-1])


def test_after_a_pause_it_begins_again() -> None:
    shadow = Shadow(ARM, learner())
    driven(shadow, ARM, 200.0, 1.0)
    assert shadow.restarts == 0 and shadow.error_ratio is not None
    assert driven(shadow, ARM, 200.0, 0.05)  # its time begins at zero again
    assert shadow.restarts == 1 and shadow.error_ratio is None


@pytest.mark.parametrize(("pause_s", "kept"), [(0.2, True), (0.5, True), (2.5, False)])
def test_what_was_learned_is_kept_over_a_short_pause(pause_s: float, kept: bool) -> None:
    shadow, payload = Shadow(ARM, learner()), replace(nominal_task(ARM), payload=Payload(MASS_KG))
    plant, dynamics, period_s = ArmPlant(ARM, payload), ArmDynamics(ARM), ARM.control_period_s
    state, effort, observed = plant.measure(), np.zeros(ARM.dof), []
    for k in range(round((3.0 + pause_s + 0.1) / period_s)):
        if not 3.0 <= k * period_s < 3.0 + pause_s:
            observed.append(shadow.observe(k * period_s, state, effort))
        wanted = ARM.home + 0.6 * np.sin(np.array([2.0, 3.0]) * k * period_s)
        effort = dynamics.bias(state.q, state.v) + 40.0 * (wanted - state.q) - 4.0 * state.v
        state = plant.step(effort, period_s)
    assert observed[-1] is not None and found(observed[-1])
    assert shadow.restarts == (0 if kept else 1)
    assert not kept or (shadow.error_ratio is not None and shadow.error_ratio < 0.3)


def test_a_controller_that_learns_nothing_is_refused() -> None:
    with pytest.raises(MetaRLError, match="learns nothing, so that it has no shadow; use meta_mpc"):
        Shadow(ARM, learner("pid"))
