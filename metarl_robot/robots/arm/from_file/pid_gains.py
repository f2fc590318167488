# SPDX-License-Identifier: Apache-2.0
"""Gains of pid for a new arm: its integral must stay stable with the rated payload.

pid (robots/arm/pid.py) acts through a diagonal inertia M̄ that is scaled by the lightest direction of motion without
payload. With a payload, the slowest direction has the loop gain γ = min eig (M + M_payload)⁻¹ M̄ over the workspace.
There s³ + γ (k_d s² + k_p s + k_i) is stable for k_i < γ k_p k_d; half of that is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.arm.from_file.joint_limit import JointLimit
from metarl_robot.robots.arm.from_file.loads import PAYLOAD_OFFSET_M
from metarl_robot.robots.new_robot.findings import Findings, Origin

Array = NDArray[np.float64]

_KP, _KD, _LARGEST_KI = 1600.0, 120.0, 4000.0
_POSES = 200


def pid_file(
    model: mujoco.MjModel, site: str, payload_kg: float, joints: Sequence[JointLimit], findings: Findings
) -> str:
    """Text of config/pid.yaml. model: the new robot's."""
    ki = float(f"{min(_LARGEST_KI, 0.5 * _KP * _KD * _slowest_loop(model, site, payload_kg, joints)):.2g}")
    rule = "stable with the rated payload; config/pid.yaml"
    findings.add("pid", "kp, kd, ki", f"{_KP:g}, {_KD:g}, {ki:g}", Origin.DEFAULT, rule)
    gains = f"      kp: {_KP:.1f}\n      kd: {_KD:.1f}\n      ki: {ki:.1f}\n"
    return f"/**:\n  ros__parameters:\n    controller_config:\n{gains}"


def _slowest_loop(model: mujoco.MjModel, site: str, payload_kg: float, joints: Sequence[JointLimit]) -> float:
    """Loop gain γ of the slowest direction of motion."""
    rng, data = np.random.default_rng(0), mujoco.MjData(model)
    lower, upper = np.array([joint.position for joint in joints]).T
    bare, loaded = [], []
    for _ in range(_POSES):
        data.qpos[:] = rng.uniform(lower, upper)
        mujoco.mj_fwdPosition(model, data)
        mass = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, mass)
        bare.append(mass)
        loaded.append(mass + payload_kg * _per_kg(model, data, site))
    typical = np.diagonal(bare, axis1=1, axis2=2).mean(axis=0)
    fastest = np.linalg.eigvals(np.linalg.solve(bare, np.broadcast_to(np.diag(typical), np.shape(bare)))).real.max()
    safe = np.diag(typical / fastest)
    return float(np.linalg.eigvals(np.linalg.solve(loaded, np.broadcast_to(safe, np.shape(loaded)))).real.min())


def _per_kg(model: mujoco.MjModel, data: mujoco.MjData, site: str) -> Array:
    """Mass matrix (n, n) of a point mass of 1 kg beyond the site."""
    index, jacobian = model.site(site).id, np.zeros((3, model.nv))
    turn = data.site_xmat[index].reshape(3, 3)
    point = data.site_xpos[index] + turn @ np.array([0.0, 0.0, PAYLOAD_OFFSET_M])
    mujoco.mj_jac(model, data, jacobian, None, point, int(model.site_bodyid[index]))
    return np.asarray(jacobian.T @ jacobian)
