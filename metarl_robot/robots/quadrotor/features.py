# SPDX-License-Identifier: Apache-2.0
"""Features of a quadrotor's residual Δ = Φ(ξ) z: force [N; world] and torque [Nm; body]. See adaptation/features.py.

Groups:

    payload  ten inertial parameters at the payload site; a plan includes them in its dynamics
    rotor    Δ = B(q) ε u                       effectiveness 1 + ε of each rotor, including a weak battery
    push     Δ = (f, t)                         constant force and torque: wind, an offset of the centre of mass
    drag     Δ = -R D Rᵀv, -R D₂ |v| Rᵀv        air drag in still air, linear (rotors) and quadratic (body),
                                                across and along the rotors' axis
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.adaptation.network import Network, learned_names
from metarl_robot.core import rotation
from metarl_robot.robots.payload import PAYLOAD_NAMES
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics

Array = NDArray[np.float64]

PUSH_NAMES = (*(f"push_{axis}_n" for axis in "xyz"), *(f"push_torque_{axis}_nm" for axis in "xyz"))
_UNIT: Array = np.eye(6)
_NOTHING: Array = np.zeros(6)
DRAG_NAMES = ("drag_across_n_s_m", "drag_along_n_s_m", "drag_across_n_s2_m2", "drag_along_n_s2_m2")


class FlightScale:
    """Scales that make a quadrotor's quantities dimensionless, so that one network and prior serve any size.

    force: (6,) weight [N], and about each axis the torque of a rotor at hover [Nm]. velocity: (6,) a quarter of the
    limits.
    """

    def __init__(self, robot: Quadrotor) -> None:
        weight = robot.mass_kg * GRAVITY_M_S2
        torque = np.abs(robot.allocation[1:] * robot.hover_thrust).max(axis=1)
        arm, speed = float(np.linalg.norm(robot.rotor_positions[:, :2], axis=1).mean()), 0.25 * robot.velocity_limit[0]
        self.force: Array = np.concatenate([np.full(3, weight), torque])
        self.velocity: Array = 0.25 * robot.velocity_limit
        self._of_context = {
            "payload_mass": robot.mass_kg,
            "payload_moment": robot.mass_kg * arm,
            "payload_inertia": float(np.trace(robot.inertia)),
            "rotor": 1.0,
            **dict(zip(PUSH_NAMES, self.force, strict=True)),
            **dict(zip(DRAG_NAMES, np.repeat([weight / speed, weight / speed**2], 2), strict=True)),
            "learned": 1.0,
        }

    def context(self, names: Sequence[str]) -> Array:
        """Return (n_z,) the unit of each dimensionless context entry."""
        return np.array(
            [next(scale for start, scale in self._of_context.items() if name.startswith(start)) for name in names]
        )

    def encode(self, q: Array, v: Array) -> Array:
        """Network inputs (N, 9) of states (N, 7), (N, 6): velocities, and the body's z axis in the world.

        The z axis does not depend on heading.
        """
        scaled = v / self.velocity
        return np.concatenate([scaled[:, :3], rotation.up(q[:, 3:]), scaled[:, 3:]], axis=1)

    def encode_one(self, q: Array, v: Array) -> Array:
        """Network inputs (9,) of one state (7,), (6,); faster than `encode` because it makes few numpy calls."""
        inputs, (w, x, y, z) = np.empty(9), q[3:].tolist()
        np.divide(v[:3], self.velocity[:3], out=inputs[:3])
        inputs[3], inputs[4], inputs[5] = 2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)
        np.divide(v[3:], self.velocity[3:], out=inputs[6:])
        return inputs


class FlightNetworkFeatures(BaseGroup):
    """Learned basis functions φ_θ: K functions of force and torque, in units of the quadrotor's scale."""

    def __init__(self, network: Network, robot: Quadrotor) -> None:
        super().__init__(robot.dof, learned_names(network, robot.dof), robot.nu)
        self._network, self._scale = network, FlightScale(robot)
        self._force = self._scale.force[:, None]

    def design(self, xi: Xi) -> Array:
        outputs = self._network.outputs(self._scale.encode(xi.q, xi.v))
        return self._force * outputs.reshape(-1, self._dof, len(self.names))

    def impulse(self, interval: Interval) -> Array:
        inputs = self._scale.encode_one(interval.balance.q_mean, interval.balance.v_mean)
        return interval.dt * self._force * self._network.outputs(inputs[None]).reshape(self._dof, -1)

    def value(self, xi: Xi, z: Array) -> Array:
        return self._scale.force * self._network.contracted(self._scale.encode(xi.q, xi.v), z)


class FlightPayloadFeatures(BaseGroup):
    """A rigid body at the payload site, in momentum form.

    `value` leaves it out, because plans include it in their own dynamics.
    """

    in_dynamics = True

    def __init__(self, dynamics: QuadrotorDynamics) -> None:
        super().__init__(dynamics.dof, PAYLOAD_NAMES, dynamics.nu)

    def impulse(self, interval: Interval) -> Array:
        return interval.balance.attached_impulse

    def attached(self, z: Array) -> Array:
        return z

    def value(self, xi: Xi, z: Array) -> Array:
        return _NOTHING


class RotorFeatures(BaseGroup):
    """Effectiveness 1 + ε of each rotor."""

    def __init__(self, dynamics: QuadrotorDynamics) -> None:
        super().__init__(dynamics.dof, tuple(f"rotor_{i + 1}_strength_error" for i in range(dynamics.nu)), dynamics.nu)
        self._dynamics = dynamics

    def design(self, xi: Xi) -> Array:
        return self._dynamics.input_maps(xi.q) * xi.effort[:, None, :]

    def impulse(self, interval: Interval) -> Array:
        return interval.balance.input_map * (interval.dt * interval.effort)

    def value(self, xi: Xi, z: Array) -> Array:
        return super().value(xi, z) if xi.effort.any() else _NOTHING

    def effort_gain(self, z: Array) -> Array:
        return z


class PushFeatures(BaseGroup):
    """A constant force and torque."""

    def __init__(self, dynamics: QuadrotorDynamics) -> None:
        super().__init__(dynamics.dof, PUSH_NAMES, dynamics.nu)

    def design(self, xi: Xi) -> Array:
        return np.tile(np.eye(6), (len(xi.v), 1, 1))

    def impulse(self, interval: Interval) -> Array:
        return interval.dt * _UNIT

    def value(self, xi: Xi, z: Array) -> Array:
        return z


class DragFeatures(BaseGroup):
    """Air drag of a quadrotor in still air."""

    def __init__(self, dynamics: QuadrotorDynamics) -> None:
        super().__init__(dynamics.dof, DRAG_NAMES, dynamics.nu)
        self._dynamics = dynamics

    def impulse(self, interval: Interval) -> Array:
        return self._dynamics.drag_impulse(interval.q_0, interval.v_0, interval.balance.q, interval.v_1, interval.dt)

    def design(self, xi: Xi) -> Array:
        return self._dynamics.drags(xi.q, xi.v)
