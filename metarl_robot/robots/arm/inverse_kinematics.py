# SPDX-License-Identifier: Apache-2.0
"""Joint positions at which an arm's tool has a pose: damped least squares within the position limits.

Each step minimises |J dq − e|² + λ |dq|² over the joints that can move, with the pose error e and the Jacobian J of the
tool (Nakamura and Hanafusa, J. Dyn. Syst. Meas. Control 1986). λ = |e|² + 1e-9 vanishes at the solution (Sugihara, IEEE
T-RO 2011). Joints that a step would move past a limit stay there, and the step is solved for the others. Bodies are
not checked for collisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.robots.payload import payload_site

Array = NDArray[np.float64]

STEPS = 100
"""Most steps from one start, some 0.2 ms each."""
STARTS = 6
"""Random starts, after the present position and home."""
LONGEST_STEP_RAD = 0.4
NEAR_M, NEAR_RAD = 1e-5, 1e-5
"""A pose with smaller errors is reached."""
_DAMPING = 1e-9


class ToolPose(NamedTuple):
    """A pose of the tool in the arm's base frame: position (3,) [m], attitude (4,) wxyz, tool→base; None: any."""

    position_m: Array
    attitude: Array | None


class InverseKinematics:
    """Solver for the frame of an arm's payload site, its tool. Not to be shared between threads."""

    def __init__(self, robot: Robot) -> None:
        self._robot, self._model = robot, robot.mj_model
        self._data = mujoco.MjData(self._model)
        self._site = self._model.site(payload_site(robot)).id
        self._jacobian = np.zeros((2, 3, self._model.nv))

    def pose(self, q: Array) -> ToolPose:
        """The tool's pose at q (n,)."""
        self._move(q)
        return ToolPose(self._data.site_xpos[self._site].copy(), rotation.from_matrix(self._turned()))

    def solve(self, target: ToolPose, start: Array) -> Array:
        """Joint positions (n,) for a pose, searched from `start` (n,) and, if that fails, from home and random places.

        The same arguments give the same result.

        Raises:
            SignalError: none was found; names the errors that remain at the nearest pose.
        """
        nearest = np.inf, np.inf
        for first in self._starts(start):
            q, *errors = self._search(target, first)
            if errors[0] < NEAR_M and errors[1] < NEAR_RAD:
                return q
            nearest = min(nearest, (errors[0], errors[1]), key=sum)
        position_m, turn_rad = nearest
        raise SignalError(
            f"the tool does not reach this pose within the joints' limits: nearest found {1e3 * position_m:.0f} mm and "
            f"{np.degrees(turn_rad):.0f} degrees from it"
        )

    def _starts(self, start: Array) -> Iterator[Array]:
        yield start
        yield self._robot.home
        rng = np.random.default_rng(0)
        lower, upper = (np.clip(x, -np.pi, np.pi) for x in (self._robot.position_lower, self._robot.position_upper))
        for _ in range(STARTS):
            yield rng.uniform(lower, upper)

    def _search(self, target: ToolPose, start: Array) -> tuple[Array, float, float]:
        """The nearest positions found (n,), with the remaining errors [m], [rad]."""
        lower, upper = self._robot.position_lower, self._robot.position_upper
        q = np.clip(start, lower, upper)
        best = q, np.inf, np.inf
        for _ in range(STEPS):
            error, jacobian = self._linearised(q, target)
            position_m, turn_rad = float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))
            if position_m + turn_rad < best[1] + best[2]:
                best = q, position_m, turn_rad
            if position_m < NEAR_M and turn_rad < NEAR_RAD:
                break
            q = q + _step(jacobian, error, lower - q, upper - q)
        return best

    def _linearised(self, q: Array, target: ToolPose) -> tuple[Array, Array]:
        """Error (3,) or (6,) of the pose at q, target minus present, and the tool's Jacobian; in the base frame."""
        self._move(q)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_jacSite(self._model, self._data, *self._jacobian, self._site)
        off = target.position_m - self._data.site_xpos[self._site]
        if target.attitude is None:
            return off, self._jacobian[0]
        apart = rotation.to_matrix(target.attitude) @ self._turned().T
        return np.concatenate([off, rotation.log(rotation.from_matrix(apart))]), self._jacobian.reshape(6, -1)

    def _move(self, q: Array) -> None:
        self._data.qpos[:] = q
        mujoco.mj_kinematics(self._model, self._data)

    def _turned(self) -> Array:
        turned: Array = self._data.site_xmat[self._site].reshape(3, 3)
        return turned


def _step(jacobian: Array, error: Array, lower: Array, upper: Array) -> Array:
    """Damped least-squares step (n,) within bounds (n,), no longer than LONGEST_STEP_RAD."""
    step, free = np.zeros(len(lower)), np.ones(len(lower), bool)
    damping = float(error @ error) + _DAMPING
    while free.any():
        j = jacobian[:, free]
        rest = error - jacobian[:, ~free] @ step[~free]
        step[free] = np.linalg.solve(j.T @ j + damping * np.eye(j.shape[1]), j.T @ rest)
        beyond = free & ((step < lower) | (step > upper))
        if not beyond.any():
            break
        step[beyond] = np.clip(step, lower, upper)[beyond]
        free &= ~beyond
    longest = float(np.abs(step).max())
    return step if longest <= LONGEST_STEP_RAD else step * (LONGEST_STEP_RAD / longest)
