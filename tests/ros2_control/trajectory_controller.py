# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a robot that takes positions under a joint_trajectory_controller. It is NOT the real one.

The controller follows the documentation of joint_trajectory_controller (ros2_controllers, Jazzy) for trajectories on
its topic: refused are other joints, times that do not increase, an end in the past and an end in motion; between two
points with velocities it interpolates by a cubic, before the first point from where the robot was when the trajectory
came; after the last point it holds.

The robot is our MuJoCo arm with a stiff position loop that knows the nominal gravity only:

    τ = h(q, 0) + K (c − q) − D v,      K = ω² m,  D = 2 ω m,  m: diagonal of the mass matrix, ω = 60 rad/s
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.plant import ArmPlant

Array = NDArray[np.float64]

OMEGA_RAD_S = 60.0
INNER_S = 0.001


class TrajectoryController:
    """One joint_trajectory_controller. joints: its parameter; q: (n,) where it starts and holds, in their order."""

    def __init__(self, joints: Sequence[str], q: Array) -> None:
        self._joints = list(joints)
        self.refused: list[str] = []
        self.hold(q)

    def hold(self, q: Array) -> None:
        """Hold a position (n,)."""
        self._rows: Array | None = None
        self._last = q.copy()

    def take(self, now_s: float, stamp_s: float, joints: Sequence[str], times: Array, q: Array, v: Array) -> str:
        """A trajectory: times (K,) after the stamp (0: now), q and v (K, n). Returns why it is refused, or ''."""
        start_s = stamp_s or now_s
        words = ""
        if sorted(joints) != sorted(self._joints):
            words = f"joints are {list(joints)}"
        elif q.shape != (len(times), len(joints)) or v.shape != q.shape:
            words = "sizes do not match"
        elif not np.all(np.diff(times) > 0.0) or times[0] < 0.0:
            words = "times do not increase"
        elif stamp_s and start_s + times[-1] < now_s:
            words = "it ends in the past"
        elif np.abs(v[-1]).max() > 1e-9:
            words = "its last point moves"
        if words:
            self.refused.append(words)
            return words
        order = [list(joints).index(name) for name in self._joints]
        self._rows = np.stack([q[:, order], v[:, order]])
        self._times, self._came_s, self._from = start_s + times, now_s, self._last
        return ""

    def at(self, now_s: float) -> Array:
        """The commanded position (n,)."""
        if self._rows is not None:
            times, (q, v) = self._times, self._rows
            if self._came_s < times[0] and now_s < times[0]:
                times, q = np.insert(times, 0, self._came_s), np.vstack([self._from, q])
                v = np.vstack([np.zeros(len(self._joints)), v])
            self._last = CubicHermiteSpline(times, q, v)(now_s) if now_s < times[-1] else q[-1]
        return self._last


class PositionRobot:
    """An arm that takes positions. plant: steps its physics."""

    def __init__(self, robot: Robot, plant: ArmPlant) -> None:
        self._robot, self.plant, self._dynamics = robot, plant, ArmDynamics(robot)
        mass = np.diagonal(self._dynamics.mass_matrix(robot.home)).copy()
        self._stiffness, self._damping = OMEGA_RAD_S**2 * mass, 2.0 * OMEGA_RAD_S * mass
        self.effort = np.zeros(robot.nu)

    def step(self, controller: TrajectoryController, joints: Sequence[str], offset_s: float = 0.0) -> None:
        """One control period; offset_s: the controller's clock minus the plant's."""
        order = [list(joints).index(name) for name in self._robot.channel_names]
        for _ in range(round(self._robot.control_period_s / INNER_S)):
            state = self.plant.measure()
            wanted = controller.at(self.plant.time + offset_s)[order]
            effort = self._dynamics.bias(state.q, 0.0 * state.v).copy()
            effort += self._stiffness * (wanted - state.q) - self._damping * state.v
            self.effort = np.clip(effort, self._robot.effort_lower, self._robot.effort_limit)
            self.plant.step(self.effort, INNER_S)
