# SPDX-License-Identifier: Apache-2.0
"""An arm that is pushed at its tool while it holds or moves: plain MuJoCo, noisy sensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

import metarl_robot as mr
from metarl_robot.core.signals import Reference

Array = NDArray[np.float64]

BEGIN_S, AFTER_S = 1.5, 1.5
NOISE_RAD, NOISE_RAD_S = 2e-5, 3e-3


@dataclass(frozen=True)
class Pushed:
    """masses_kg, error_rad, external: (K,) from begin to end. released: first step after the push.

    states, felt: (K,) true state, and the force from outside by the command.
    """

    masses_kg: Array
    error_rad: Array
    external: NDArray[np.bool_]
    released: int
    violations: int
    states: list[mr.State]
    felt: list[mr.ExternalForce]


def push(
    robot: mr.Robot,
    reference: Reference,
    force_n: Array,
    duration_s: float,
    seed: int = 0,
    picked_kg: float = 0.0,
) -> Pushed:
    """Run meta_mpc while a force (3,) [N; world] acts on the payload site for a time.

    picked_kg: mass that is picked up there, when the force begins, and stays.
    """
    model = mujoco.MjModel.from_xml_path(str(robot.model_path))
    data, rng, period = mujoco.MjData(model), np.random.default_rng(seed), robot.control_period_s
    controller, site = mr.make_controller(robot, "meta_mpc"), model.site(robot.description.payload.site)
    start = reference.sample(np.zeros(1))
    data.qpos[:], data.qvel[:] = start.q[0], start.v[0]
    masses, errors, external, violations = [], [], [], 0
    states: list[mr.State] = []
    felt: list[mr.ExternalForce] = []
    begun = round(BEGIN_S / period)
    for k in range(round((BEGIN_S + duration_s + AFTER_S) / period)):
        if k == begun and picked_kg > 0.0:
            _add_mass(model, site, picked_kg)
        states.append(mr.State(data.qpos.copy(), data.qvel.copy()))
        q, v = data.qpos + rng.normal(0.0, NOISE_RAD, robot.dof), data.qvel + rng.normal(0.0, NOISE_RAD_S, robot.dof)
        command = controller.step(k * period, mr.State(q, v), reference)
        masses.append(command.context["payload_mass_kg"][0] if command.context.names else 0.0)
        external.append(controller.adapter.external_wrench)
        assert command.external is not None
        felt.append(command.external)
        data.ctrl[:] = command.effort
        acts = BEGIN_S <= data.time < BEGIN_S + duration_s
        for _ in range(round(period / model.opt.timestep)):
            data.qfrc_applied[:] = 0.0
            if acts:
                place = data.site_xpos[site.id]
                mujoco.mj_applyFT(
                    model, data, force_n, np.zeros(3), place, model.site_bodyid[site.id], data.qfrc_applied
                )
            mujoco.mj_step(model, data)
            violations += bool(np.any(np.abs(data.qvel) > robot.velocity_limit))
        errors.append(np.abs(data.qpos - reference.sample(np.array([data.time])).q[0]).max())
    released = round((BEGIN_S + duration_s) / period)
    return Pushed(np.array(masses), np.array(errors), np.array(external), released, violations, states, felt)


def _add_mass(model: mujoco.MjModel, site: Any, mass_kg: float) -> None:
    """A point mass at a site becomes part of the site's body."""
    body = model.site_bodyid[site.id]
    whole = model.body_mass[body] + mass_kg
    model.body_ipos[body] = (model.body_mass[body] * model.body_ipos[body] + mass_kg * model.site_pos[site.id]) / whole
    model.body_mass[body] = whole
    mujoco.mj_setConst(model, mujoco.MjData(model))
