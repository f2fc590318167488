# SPDX-License-Identifier: Apache-2.0
"""The bodies and tyres of a simulated vehicle: the physics behind GroundPlant.

There are two. planar_chassis.py slides on a plane, driven by the tyre model; contact_chassis.py stands on its wheels.
"""

from __future__ import annotations

from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import GRAVITY_M_S2
from metarl_robot.sim.ground.task import GroundTask

Array = NDArray[np.float64]

PAYLOAD = "payload"
"""Name of the load's body."""
NO_INERTIA = 1e-9
"""Moments of inertia of the load about its own centre [kg m²]: it is small beside the vehicle."""


class Chassis(Protocol):
    """wheel_speeds: (w,) [rad/s]. overturned: whether the vehicle lies on its side or its roof."""

    @property
    def wheel_speeds(self) -> Array: ...

    @property
    def overturned(self) -> bool: ...

    def install(self, task: GroundTask) -> None:
        """Take over load, slope and ground of a task."""
        ...

    def reset(self, q: Array, v: Array) -> None:
        """Roll freely, without forces of the tyres, in a state (q (3,), v (3,))."""
        ...

    def move(self, effort: Array, place: GroundTask) -> None:
        """One physics step under efforts (nu,) that act; place: the task at the vehicle's place (PatchedTask.under)."""
        ...

    def state(self) -> tuple[Array, Array]:
        """(q (3,), v (3,)) at one time."""
        ...


def add_payload(spec: mujoco.MjSpec, frame: str) -> None:
    """Add a body that `put_load` changes."""
    payload = spec.body(frame).add_body(name=PAYLOAD)
    payload.explicitinertial = True
    payload.mass, payload.ipos, payload.fullinertia = 1.0, (0.01, 0.02, 0.03), (0.02, 0.03, 0.04, 0.001, 0.002, 0.003)


def put_load(model: mujoco.MjModel, task: GroundTask) -> None:
    """Set the task's load, and its slope as a tilt of gravity."""
    body = model.body(PAYLOAD).id
    model.body_mass[body], model.body_ipos[body] = max(task.payload_mass_kg, 1e-9), task.payload_position_m
    model.body_inertia[body] = NO_INERTIA
    up = np.tan(task.slope_rad)
    model.opt.gravity[:] = -GRAVITY_M_S2 * np.array([*up, 1.0]) / np.sqrt(1.0 + up @ up)
    mujoco.mj_setConst(model, mujoco.MjData(model))
