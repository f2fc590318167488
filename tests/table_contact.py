# SPDX-License-Identifier: Apache-2.0
"""An arm that presses on a table: plain MuJoCo, noisy sensors, a reference that goes below the table top and back."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

import metarl_robot as mr
from metarl_robot.core.signals import Setpoints
from metarl_robot.trajectories.splines import Spline, from_points

Array = NDArray[np.float64]

DOWN_S, PRESSED_S, AFTER_S = 1.0, 1.0, 2.0
BEGIN_S = 1.0
APPROACH_M, TIP_M = 0.1, 0.03
TOUCHES = 4  # bit of the colliding geoms: the arm's own do not collide
NOISE_RAD, NOISE_RAD_S = 2e-5, 3e-3


@dataclass(frozen=True)
class Pressing:
    """peak_n: largest contact force. violations: physics steps above a velocity limit.

    masses_kg: (K,) estimates; empty without. error_m: (K,) of the tip. released: first step after the reference has
    left the table.
    """

    peak_n: float
    violations: int
    masses_kg: Array
    error_m: Array
    released: int


class Path:
    """The tip goes straight down, stays, and comes back; sampled as a reference."""

    def __init__(self, robot: mr.Robot, model: mujoco.MjModel, depth_m: float) -> None:
        down, back_s = APPROACH_M + depth_m, BEGIN_S + DOWN_S + PRESSED_S
        q, times, points = robot.home, [0.0, BEGIN_S], [robot.home, robot.home]
        shares = np.linspace(0.0, 1.0, 13)[1:]
        heights = -down * shares**3 * (10.0 - 15.0 * shares + 6.0 * shares**2)
        for share, height in zip(shares, heights, strict=True):
            q = _inverse(model, robot, q, height)
            times.append(BEGIN_S + share * DOWN_S)
            points.append(q)
        there = points[2:]
        times += [back_s, *(back_s + shares * DOWN_S), 60.0]
        points += [q, *there[-2::-1], robot.home, robot.home]
        self._spline: Spline = from_points(times, np.array(points))

    def sample(self, times: Array) -> Setpoints:
        return self._spline.sample(times)


def _model(robot: mr.Robot, table_top_m: float | None) -> mujoco.MjModel:
    spec = mujoco.MjSpec.from_file(str(robot.model_path))
    site = spec.site(robot.description.payload.site)
    contact = {"contype": TOUCHES, "conaffinity": TOUCHES}
    site.parent.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[TIP_M, 0, 0], pos=site.pos, mass=0.0, **contact)
    if table_top_m is not None:
        place = [0.0, 0.0, table_top_m - 0.05]
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[2.0, 2.0, 0.05], pos=place, **contact)
    return spec.compile()


def _tip(model: mujoco.MjModel, data: mujoco.MjData, robot: mr.Robot, q: Array) -> Array:
    data.qpos[:] = q
    mujoco.mj_kinematics(model, data)
    return np.array(data.site(robot.description.payload.site).xpos)


def _inverse(model: mujoco.MjModel, robot: mr.Robot, q: Array, height_m: float) -> Array:
    """Joint positions near q that lift the tip by height_m from its place at home."""
    data, jacobian = mujoco.MjData(model), np.zeros((3, model.nv))
    target = _tip(model, data, robot, robot.home) + [0.0, 0.0, height_m]
    data.qpos[:] = q
    for _ in range(50):
        mujoco.mj_forward(model, data)
        mujoco.mj_jacSite(model, data, jacobian, None, model.site(robot.description.payload.site).id)
        gap = target - data.site(robot.description.payload.site).xpos
        data.qpos[:] += jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-8 * np.eye(3), gap)
    return np.array(data.qpos)


def press(robot: mr.Robot, controller: mr.Controller, depth_m: float, seed: int = 0) -> Pressing:
    """Run a controller while its reference goes depth_m below the table top for PRESSED_S."""
    free, rng, period = _model(robot, None), np.random.default_rng(seed), robot.control_period_s
    told = mujoco.MjData(free)
    path = Path(robot, free, depth_m)
    model = _model(robot, float(_tip(free, told, robot, robot.home)[2]) - APPROACH_M - TIP_M)
    data, peak, violations = mujoco.MjData(model), 0.0, 0
    data.qpos[:] = robot.home
    errors, masses = [], []
    for k in range(round((BEGIN_S + 2.0 * DOWN_S + PRESSED_S + AFTER_S) / period)):
        q, v = data.qpos + rng.normal(0.0, NOISE_RAD, robot.dof), data.qvel + rng.normal(0.0, NOISE_RAD_S, robot.dof)
        command = controller.step(k * period, mr.State(q, v), path)
        masses += [command.context["payload_mass_kg"][0]] if "payload_mass_kg" in command.context.names else []
        data.ctrl[:] = command.effort
        for _ in range(round(period / model.opt.timestep)):
            mujoco.mj_step(model, data)
            peak = max(peak, _force(model, data))
            violations += bool(np.any(np.abs(data.qvel) > robot.velocity_limit))
        wanted = _tip(free, told, robot, path.sample(np.array([data.time])).q[0])
        errors.append(np.linalg.norm(data.site(robot.description.payload.site).xpos - wanted))
    released = round((BEGIN_S + DOWN_S + PRESSED_S + 0.5 * DOWN_S) / period)
    return Pressing(peak, violations, np.array(masses), np.array(errors), released)


def _force(model: mujoco.MjModel, data: mujoco.MjData) -> float:
    """Sum of the contacts' normal forces [N]."""
    wrench, total = np.zeros(6), 0.0
    for contact in range(data.ncon):
        mujoco.mj_contactForce(model, data, contact, wrench)
        total += wrench[0]
    return total
