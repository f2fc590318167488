# SPDX-License-Identifier: Apache-2.0
"""Forces on T flying quadrotors: rotors, drag, ground effect, wind walls.

u is the velocity of a point relative to the air, in body axes, and Ω a rotor's speed:

    rotor thrust        γ k Ω² g along the axis  γ: effectiveness times battery factor, g: ground effect
    rotor drag torque   -s c γ k Ω² about the axis
    rotor drag          -d Ω (C_h u_⊥ + C_v u_∥), u at the hub, across and along the axis
                        (Faessler, Franchi, Scaramuzza, RA-L 2018)
    parasitic drag      -p C_p |u| u, u at the body's origin
    ground effect       g = 1 / (1 - (r / 4 z)²), z the hub's height, r the rotor's radius
                        (Cheeseman, Bennett, R&M 3021, 1955)

d and p are the task's drag scales. Cheeseman and Bennett's formula is not valid below half a radius; below that height
g is constant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.rotation import skew
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

Array = NDArray[np.float64]

_LOWEST_HEIGHT = 0.5  # of the rotor's radius


class Aerodynamics:
    """Generalised force on T quadrotors of one kind, each under its own task.

    Products are computed for each quadrotor separately (stacked matmul), so that no result depends on their number.
    """

    def __init__(self, robot: Quadrotor, tasks: Sequence[QuadrotorTask]) -> None:
        gain = np.array([task.thrust_gain(robot) for task in tasks])
        scale = np.array([task.drag_scale for task in tasks])
        across, along = robot.rotor_drag
        self._count = len(tasks)
        self.gain = robot.thrust_coefficient * gain
        self.rotor_drag = -scale[:, :1, None] * np.array([across, across, along])  # (T, 1, 3)
        self.parasitic_drag = -scale[:, 1:] * robot.parasitic_drag  # (T, 3)
        self._to_hubs = _to_hubs(robot)
        self._to_wrench = _to_wrench(robot)
        self._rotors, self.axes, self._tilted = robot.nu, robot.rotor_axes, robot.tilted
        self.hubs, self.drag_torque = robot.rotor_positions, robot.spin * robot.torque_ratio
        self.radius, self.lowest = robot.rotor_radius_m, _LOWEST_HEIGHT * robot.rotor_radius_m
        self.ground = np.array([float(task.ground_effect) for task in tasks])[:, None]
        self._twist = np.empty((self._count, 1, 6))
        self._efforts = np.empty((self._count, 1, 4 * self._rotors))
        walls = [task.wind.wall for task in tasks]
        self._walled = any(wall is not None for wall in walls)
        self.wall_normal = np.array([(0.0, 0.0, 0.0) if wall is None else wall.normal for wall in walls])[:, :, None]
        self.wall_offset = np.array([-np.inf if wall is None else wall.offset_m for wall in walls])[:, None]
        self.wall_edge = np.array([1.0 if wall is None else wall.edge_m for wall in walls])[:, None]

    def exposed(self, wind: Array, position: Array) -> Array:
        """Wind (T, 3) felt at positions (T, 3), walls included."""
        if not self._walled:
            return wind
        depth = (position[:, None, :] @ self.wall_normal)[:, 0] - self.wall_offset
        share = np.clip(depth / self.wall_edge, 0.0, 1.0)
        return np.asarray(wind * (share * share * (3.0 - 2.0 * share)))

    def force(self, rotation: Array, height: Array, velocity: Array, wind: Array, square_speed: Array) -> Array:
        """Force [N; world] and torque about the body's origin [Nm; body] (T, 6), without gravity.

        Arguments:
            rotation: (T, 3, 3) body -> world. height: (T, 1) of the body's origin [m].
            velocity: (T, 6) linear [world], angular [body].
            wind: (T, 3) air velocity at the quadrotor [m/s; world].
            square_speed: (T, n) rotor speeds squared [rad²/s²].
        """
        twist, efforts = self._twist, self._efforts
        air = (velocity[:, None, :3] - wind[:, None]) @ rotation
        twist[:, :, :3], twist[:, 0, 3:] = air, velocity[:, 3:]
        thrust = self.gain * square_speed
        hub_force = self._rotor_drag(np.sqrt(square_speed), (twist @ self._to_hubs).reshape(-1, self._rotors, 3))
        hub_force += self.axes * (thrust * self._ground_effect(rotation, height))[:, :, None]
        efforts[:, 0, : 3 * self._rotors] = hub_force.reshape(-1, 3 * self._rotors)
        efforts[:, 0, 3 * self._rotors :] = thrust
        wrench = efforts @ self._to_wrench  # (T, 1, 6) body
        speed = np.sqrt(air @ air.transpose(0, 2, 1))
        result = np.empty((self._count, 6))
        result[:, :3] = ((wrench[:, :, :3] + self.parasitic_drag[:, None] * speed * air) @ rotation.transpose(0, 2, 1))[
            :, 0
        ]
        result[:, 3:] = wrench[:, 0, 3:]
        return result

    def _rotor_drag(self, turning: Array, velocity: Array) -> Array:
        """Drag (T, n, 3) [N; body] of rotors that turn at speeds (T, n), at hub velocities (T, n, 3)."""
        if not self._tilted:
            return np.asarray(self.rotor_drag * turning[:, :, None] * velocity)
        along = (velocity * self.axes).sum(axis=2, keepdims=True) * self.axes
        across, down = self.rotor_drag[:, :, :1], self.rotor_drag[:, :, 2:]
        return np.asarray(turning[:, :, None] * (across * (velocity - along) + down * along))

    def _ground_effect(self, rotation: Array, height: Array) -> Array:
        """Thrust factor (T, n)."""
        hubs = height + (rotation[:, 2:] @ self.hubs.T)[:, 0]
        ratio = self.radius / (4.0 * np.maximum(hubs, self.lowest))
        return np.asarray(1.0 / (1.0 - self.ground * ratio * ratio))


def mean_wind_force(robot: Quadrotor, task: QuadrotorTask) -> Array:
    """Effect (6,) of the mean wind on a quadrotor that stands level in it: force [N; world] and torque [Nm; body]."""
    air, square = Aerodynamics(robot, [task]), task.hover_square_speed(robot)[None]
    level, height, still = np.eye(3)[None], np.full((1, 1), 100.0), np.zeros((1, 6))
    push = air.force(level, height, still, task.wind.mean_m_s[None], square) - air.force(
        level, height, still, still[:, :3], square
    )
    return np.array(push[0])


def _to_hubs(robot: Quadrotor) -> Array:
    """Map (6, 3 n) from the body twist to the velocities of the hubs: v + ω × r."""
    return np.vstack([np.tile(np.eye(3), robot.nu), np.hstack([-skew(r).T for r in robot.rotor_positions])])


def _to_wrench(robot: Quadrotor) -> Array:
    """Map (4 n, 6) from the hubs' forces, then thrusts, to the body wrench: (Σ F, Σ r × F - s c thrust n)."""
    rows = [np.hstack([np.eye(3), skew(r).T]) for r in robot.rotor_positions]
    drag = np.zeros((robot.nu, 6))
    drag[:, 3:] = (-robot.spin * robot.torque_ratio)[:, None] * robot.rotor_axes
    return np.vstack([*rows, drag])
