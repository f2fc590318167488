# SPDX-License-Identifier: Apache-2.0
"""Where the context cannot explain the residual, control compensates as quickly as with a disturbance observer alone.

The plant is plain MuJoCo with an error that training does not know.
"""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

import metarl_robot as mr
from metarl_robot.trajectories.euclidean import random_tracking

Array = NDArray[np.float64]
Motors = Callable[[Array, Array], Array]

PANDA = mr.load_robot("panda")
NOISE_RAD, NOISE_RAD_S = 2e-5, 3e-3
DURATION_S, SETTLED_S = 4.0, 1.0


def _ripple(effort: Array, q: Array) -> Array:
    """Torque ripple of 5 %, and cogging of 0.5 % of the effort limit."""
    return effort * (1.0 + 0.05 * np.sin(12.0 * q)) + 0.005 * PANDA.effort_limit * np.sin(20.0 * q)


def _exact(effort: Array, q: Array) -> Array:
    return effort


def _wrong_links(model: mujoco.MjModel) -> None:
    """Masses, inertias and armature wrong by up to 30 %, centres of mass by about 10 mm."""
    rng = np.random.default_rng(5)
    links = model.nbody - 1
    model.body_mass[1:] *= rng.uniform(0.7, 1.3, links)
    model.body_inertia[1:] *= rng.uniform(0.7, 1.3, (links, 1))
    model.body_ipos[1:] += 0.01 * rng.normal(size=(links, 3))
    model.dof_armature[:] *= rng.uniform(0.7, 1.3, model.nv)
    mujoco.mj_setConst(model, mujoco.MjData(model))


def _tracking_error(controller: str, model: mujoco.MjModel, motors: Motors) -> float:
    """Root mean square [rad] over joints and time, after SETTLED_S."""
    rng, reference = np.random.default_rng(0), random_tracking(PANDA, np.random.default_rng(0), DURATION_S + 1.0)
    data, control, period_s = mujoco.MjData(model), mr.make_controller(PANDA, controller), PANDA.control_period_s
    data.qpos[:] = reference.sample(np.zeros(1)).q[0]
    errors = []
    for k in range(round(DURATION_S / period_s)):
        noisy = mr.State(data.qpos + rng.normal(0.0, NOISE_RAD, 7), data.qvel + rng.normal(0.0, NOISE_RAD_S, 7))
        data.ctrl[:] = motors(control.step(k * period_s, noisy, reference).effort, data.qpos)
        for _ in range(round(period_s / model.opt.timestep)):
            mujoco.mj_step(model, data)
        if data.time > SETTLED_S:
            errors.append(reference.sample(np.array([data.time])).q[0] - data.qpos)
    return float(np.sqrt(np.mean(np.square(errors))))


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ripple", "links"])
def test_with_an_error_that_no_feature_describes_it_tracks_as_well_as_an_observer(error: str) -> None:
    model = mujoco.MjModel.from_xml_path(str(PANDA.model_path))
    if error == "links":
        _wrong_links(model)
    motors = _ripple if error == "ripple" else _exact
    observer, adaptive = (_tracking_error(name, model, motors) for name in ("offset_free_mpc", "meta_mpc"))
    assert observer > 5e-5, "the error acts"
    assert adaptive < 1.05 * observer
