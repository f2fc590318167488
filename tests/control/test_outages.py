# SPDX-License-Identifier: Apache-2.0
"""Outages of the states: the model is kept, and the motion afterwards is no worse than with a disturbance observer.

The plant is plain MuJoCo; its last effort acts during the outage.
"""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

import metarl_robot as mr
from metarl_robot.core.signals import Reference
from metarl_robot.safety.sample_check import OUTAGE_S, SampleCheck
from metarl_robot.trajectories.euclidean import random_tracking
from metarl_robot.trajectories.splines import Hold

Array = NDArray[np.float64]

PANDA = mr.load_robot("panda")
PERIOD_S = PANDA.control_period_s
BEGINS_S, PAYLOAD_KG, FRICTION = 1.5, 1.5, 0.01
STEP_RAD = 3e-4
"""Of a coarse encoder, with velocities that are differences of its positions."""


def _plant() -> mujoco.MjModel:
    """With a payload, and Coulomb friction of FRICTION times the effort limits."""
    model = mujoco.MjModel.from_xml_path(str(PANDA.model_path))
    model.body_mass[-1] += PAYLOAD_KG
    model.dof_frictionloss[:] = FRICTION * PANDA.effort_limit
    return model


def _after(controller: str, reference: Reference, outage_s: float, coarse: bool = False) -> tuple[Array, Array]:
    """Errors [rad] (N, n) in the second after an outage, and the payload's mass [kg] (2,) before and after it."""
    model, control = _plant(), mr.make_controller(PANDA, controller)
    data, errors, masses = mujoco.MjData(model), [], [0.0]
    data.qpos[:] = last = reference.sample(np.zeros(1)).q[0]
    for k in range(round((BEGINS_S + outage_s + 1.0) / PERIOD_S)):
        q = STEP_RAD * np.round(data.qpos / STEP_RAD) if coarse else data.qpos.copy()
        state, last = mr.State(q, (q - last) / PERIOD_S if coarse else data.qvel.copy()), q
        if not BEGINS_S - 1e-9 <= k * PERIOD_S < BEGINS_S + outage_s - 1e-9:
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


@pytest.mark.parametrize(("leap_s", "moved"), [(0.3, False), (0.9 * OUTAGE_S, False), (1e4, True), (-1.0, True)])
def test_only_a_leap_of_time_that_is_no_outage_is_another_time_base(leap_s: float, moved: bool) -> None:
    check, state = SampleCheck(PANDA), mr.State(PANDA.home, np.zeros(PANDA.dof))
    assert check.problem(10.0, state) is None
    found = [(check.problem(10.0 + leap_s + k * PERIOD_S, state), check.moved) for k in range(10)]
    first = next(k for k, (problem, _) in enumerate(found) if problem is None)
    assert first > 0, "a single wrong stamp is not believed"
    assert found[first][1] is moved and not any(later for _, later in found[first + 1 :])
