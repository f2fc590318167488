# SPDX-License-Identifier: Apache-2.0
"""Outages of the states, and slow ones: the model is kept, and the motion afterwards is no worse than with an observer.

The plant is plain MuJoCo; its last effort acts during the outage.
"""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

import metarl_robot as mr
from metarl_robot.core.signals import Reference
from metarl_robot.robots.quadrotor.trajectories import FigureEight
from metarl_robot.safety.sample_check import OUTAGE_S, SampleCheck
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from metarl_robot.trajectories.euclidean import random_tracking
from metarl_robot.trajectories.splines import Hold
from tests.noisy_quadrotor import NOISY

Array = NDArray[np.float64]

PANDA, X500 = mr.load_robot("panda"), mr.load_robot("x500")
PERIOD_S = PANDA.control_period_s
BEGINS_S, PAYLOAD_KG, FRICTION = 1.5, 1.5, 0.01
SLOW_FROM_S = 3.0
STEP_RAD = 3e-4
"""Of a coarse encoder, with velocities that are differences of its positions."""


def _plant() -> mujoco.MjModel:
    """With a payload, and Coulomb friction of FRICTION times the effort limits."""
    model = mujoco.MjModel.from_xml_path(str(PANDA.model_path))
    model.body_mass[-1] += PAYLOAD_KG
    model.dof_frictionloss[:] = FRICTION * PANDA.effort_limit
    return model


def _after(
    controller: str, reference: Reference, outage_s: float, coarse: bool = False, every: int = 10**6
) -> tuple[Array, Array]:
    """Errors [rad] (N, n) in the second after an outage, and the payload's mass [kg] (2,) before and after it.

    every: during the outage every so many states come.
    """
    model, control = _plant(), mr.make_controller(PANDA, controller)
    data, errors, masses = mujoco.MjData(model), [], [0.0]
    data.qpos[:] = last = reference.sample(np.zeros(1)).q[0]
    for k in range(round((BEGINS_S + outage_s + 1.0) / PERIOD_S)):
        q = STEP_RAD * np.round(data.qpos / STEP_RAD) if coarse else data.qpos.copy()
        state, last = mr.State(q, (q - last) / PERIOD_S if coarse else data.qvel.copy()), q
        if not BEGINS_S - 1e-9 <= k * PERIOD_S < BEGINS_S + outage_s - 1e-9 or k % every == 0:
            command = control.step(k * PERIOD_S, state, reference)
            data.ctrl[:] = command.effort
            mass = command.context["payload_mass_kg"][0] if "payload_mass_kg" in command.context.names else 0.0
            masses = [mass, mass] if k * PERIOD_S < BEGINS_S else [masses[0], mass]
        mujoco.mj_step(model, data, nstep=round(PERIOD_S / model.opt.timestep))
        if k * PERIOD_S >= BEGINS_S + outage_s:
            errors.append(reference.sample(np.array([data.time])).q[0] - data.qpos)
    return np.array(errors), np.array(masses)


def _rms(errors: Array) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def _at_rest() -> Reference:
    return Hold(random_tracking(PANDA, np.random.default_rng(1000), 3.0).sample(np.zeros(1)).q[0])


@pytest.mark.parametrize("outage_s", [0.1, 0.3, 0.5])
def test_a_held_payload_is_known_after_an_outage(outage_s: float) -> None:
    """Outages beyond 0.25 s began anew: the arm sagged by 1.7 mrad."""
    errors, masses = _after("meta_mpc", _at_rest(), outage_s)
    assert masses[1] == pytest.approx(masses[0], abs=0.1)
    assert _rms(errors) < 2e-4


@pytest.mark.slow
@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("outage_s", [0.1, 0.3])
def test_a_moving_arm_returns_as_well_as_with_an_observer(outage_s: float, coarse: bool) -> None:
    reference = random_tracking(PANDA, np.random.default_rng(1000), BEGINS_S + outage_s + 2.0)
    ours, observers = (_after(name, reference, outage_s, coarse)[0] for name in ("meta_mpc", "offset_free_mpc"))
    assert _rms(ours) <= 1.05 * _rms(observers)


@pytest.mark.parametrize("controller", ["meta_mpc", "offset_free_mpc"])
def test_an_arm_keeps_its_model_while_its_states_are_slow(controller: str) -> None:
    """A busy computer looks like slow states, for which another adapter is used: it began anew, twice."""
    errors, masses = _after(controller, _at_rest(), 0.3, every=8)
    assert masses[1] == pytest.approx(masses[0], abs=0.1)
    assert _rms(errors[60:]) < 3e-4


def test_a_moving_arm_keeps_its_model_at_half_the_rate() -> None:
    """It began anew: 2.5 mrad off after it."""
    reference = random_tracking(PANDA, np.random.default_rng(1000), BEGINS_S + 3.0)
    errors, masses = _after("meta_mpc", reference, 1.0, every=2)
    assert masses[1] == pytest.approx(masses[0], abs=0.2)
    assert _rms(errors) < 2e-4


@pytest.mark.parametrize("period_s", [0.025, 0.04, 0.06])
def test_a_quadrotor_keeps_its_model_while_its_states_are_slow(period_s: float) -> None:
    """It began anew, and was up to 22 to 47 mm off (with an observer 6 to 41); without slow states it is 6 mm."""
    assert _flown("meta_mpc", period_s).max() < 0.01
    assert _flown("offset_free_mpc", period_s).max() < 0.01


def _flown(controller: str, period_s: float) -> Array:
    """Distances [m] from the reference in the second from the begin of 0.3 s of slow states on."""
    plant, control = QuadrotorPlant(X500, replace(NOISY, mass_scale=1.15), 1001), mr.make_controller(X500, controller)
    reference, errors = FigureEight(np.array([0.0, 0.0, 2.0])), []
    state = plant.reset(reference.sample(np.zeros(1)).q[0])
    while plant.time < SLOW_FROM_S + 1.0:
        effort = control.step(plant.stamp, state, reference).effort
        slow = SLOW_FROM_S <= plant.time < SLOW_FROM_S + 0.3
        for _ in range(round(period_s / X500.control_period_s) if slow else 1):
            state = plant.step(effort, X500.control_period_s)
            errors.append(np.linalg.norm(plant.truth.q[:3] - reference.sample(np.array([plant.time])).q[0, :3]))
    return np.array(errors[round(SLOW_FROM_S / X500.control_period_s) :])


@pytest.mark.parametrize(("leap_s", "moved"), [(0.3, False), (0.9 * OUTAGE_S, False), (1e4, True), (-1.0, True)])
def test_only_a_leap_of_time_that_is_no_outage_is_another_time_base(leap_s: float, moved: bool) -> None:
    check, state = SampleCheck(PANDA), mr.State(PANDA.home, np.zeros(PANDA.dof))
    assert check.problem(10.0, state) is None
    found = [(check.problem(10.0 + leap_s + k * PERIOD_S, state), check.moved) for k in range(10)]
    first = next(k for k, (problem, _) in enumerate(found) if problem is None)
    assert first > 0, "a single wrong stamp is not believed"
    assert found[first][1] is moved and not any(later for _, later in found[first + 1 :])
