# SPDX-License-Identifier: Apache-2.0
"""The gravity of a load at an arm's payload site, by MuJoCo: what a driver adds once it has accepted the load."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.payload import payload_site

Array = NDArray[np.float64]


class LoadGravity:
    """See the module's docstring."""

    def __init__(self, robot: Any) -> None:
        self._model, self._data = robot.mj_model, mujoco.MjData(robot.mj_model)
        self._site = self._model.site(payload_site(robot)).id

    def effort(self, q: Array, parameters: Array) -> Array:
        """Effort (n,) [Nm] that holds a load with these parameters (10,) at q."""
        mass = parameters[0]
        if mass <= 0.0:
            return np.zeros(len(q))
        self._data.qpos[:] = q
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        rotation = self._data.site_xmat[self._site].reshape(3, 3)
        point = self._data.site_xpos[self._site] + rotation @ (parameters[1:4] / mass)
        jacobian = np.zeros((3, self._model.nv))
        mujoco.mj_jac(self._model, self._data, jacobian, None, point, self._model.site_bodyid[self._site])
        return np.asarray(-mass * jacobian.T @ self._model.opt.gravity)
