# SPDX-License-Identifier: Apache-2.0
"""Gravity compensation inside the robot: the effort of the nominal model without payload, added to commands."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]


class NominalGravity:
    """Gravity torque g(q) of a robot's description, its springs and gravity compensation included."""

    def __init__(self, robot: Robot) -> None:
        self._model = robot.mj_model
        self._data = mujoco.MjData(self._model)

    def effort(self, q: Array) -> Array:
        """Effort (n,) [Nm] that holds the nominal robot still at q (n,) [rad]."""
        self._data.qpos[:] = q
        self._data.qvel[:] = 0.0
        mujoco.mj_forward(self._model, self._data)
        return np.array(self._data.qfrc_bias - self._data.qfrc_passive)
