# SPDX-License-Identifier: Apache-2.0
"""The weight on the joints over the workspace, for guesses of effort limits and of the rated payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.arm.from_file.joints import Choice

Array = NDArray[np.float64]

_POSES = 200
_EFFORT_MARGIN = 3.0
_ACCELERATION = 5.0  # rad/s² or m/s², that a guessed effort allows beside the weight
_PAYLOAD_SHARE, _EFFORT_SHARE = 0.15, 0.6
PAYLOAD_OFFSET_M = 0.05
"""Distance of a payload's centre from its site, in any direction."""


class Ranged(Protocol):
    """A joint with its range."""

    @property
    def position(self) -> tuple[float, float]: ...

    @property
    def effort(self) -> float: ...


class Loads:
    """Weight and inertia of a compiled source, held joints in place.

    gravity: (3,) [m/s²; base frame].
    """

    def __init__(self, model: mujoco.MjModel, choice: Choice, gravity: Sequence[float]) -> None:
        self._model, self._choice, self._gravity = model, choice, np.asarray(gravity, dtype=float)
        self._dofs = [int(model.jnt_dofadr[j]) for j in choice.driven]

    def guessed_efforts(self, joints: Mapping[int, Ranged]) -> dict[int, float]:
        """Efforts that hold the arm in every pose, with a margin and an acceleration, by joint.

        The last joint bears hardly any weight of the arm: it gets what a payload beside its axis needs.
        """
        weights, inertias, _ = self._sampled(joints, None)
        needed = _EFFORT_MARGIN * weights.max(0) + _ACCELERATION * inertias.max(0)
        needed = np.maximum(needed, _PAYLOAD_SHARE * self._moving_kg() * self._beside_per_kg() / _EFFORT_SHARE)
        rounded = [float(f"{max(value, 0.1):.2g}") for value in needed]
        return dict(zip(joints, rounded, strict=True))

    def guessed_payload(self, joints: Mapping[int, Ranged], tool: tuple[int, Array]) -> float:
        """Mass [kg]: a share of the moving mass, less where the motors are too weak for it.

        tool: body, and position (3,) in it, of the payload.
        """
        weights, _, per_kg = self._sampled(joints, tool)
        limits = np.array([joint.effort for joint in joints.values()])
        per_kg = np.maximum(per_kg, self._beside_per_kg())
        with np.errstate(divide="ignore"):
            room = np.where(per_kg > 1e-6, (_EFFORT_SHARE * limits - weights) / np.maximum(per_kg, 1e-6), np.inf)
        by_strength = max(float(np.percentile(room.min(1), 20.0)), 0.0)
        moving = self._moving_kg()
        return float(f"{max(min(_PAYLOAD_SHARE * moving, by_strength), 0.02 * moving, 1e-3):.2g}")

    def _moving_kg(self) -> float:
        return float(self._model.body_subtreemass[self._model.jnt_bodyid[self._choice.driven[0]]])

    def _beside_per_kg(self) -> Array:
        """Weight (n,) [Nm/kg] on the joints of a payload beside their axis; zero of slides."""
        hinges = self._model.jnt_type[list(self._choice.driven)] == int(mujoco.mjtJoint.mjJNT_HINGE)
        return np.asarray(PAYLOAD_OFFSET_M * np.linalg.norm(self._gravity) * hinges)

    def _sampled(self, joints: Mapping[int, Ranged], tool: tuple[int, Array] | None) -> tuple[Array, Array, Array]:
        """|weight| (P, n), inertia (P, n) and |weight| per kg of payload (P, n) in random poses."""
        model, data = self._model, mujoco.MjData(self._model)
        own, model.opt.gravity[:] = np.array(model.opt.gravity), self._gravity
        rng, rows = np.random.default_rng(0), []
        lower, upper = np.array([joint.position for joint in joints.values()]).T
        for _ in range(_POSES):
            self._pose(data, rng.uniform(lower, upper))
            mujoco.mj_forward(model, data)
            mass, jacobian = np.zeros((model.nv, model.nv)), np.zeros((3, model.nv))
            mujoco.mj_fullM(model, data, mass)
            if tool is not None:
                body, position = tool
                point = data.xpos[body] + data.xmat[body].reshape(3, 3) @ position
                mujoco.mj_jac(model, data, jacobian, None, point, body)
            weight = np.abs(data.qfrc_bias - data.qfrc_passive)
            rows.append([row[self._dofs] for row in (weight, np.diagonal(mass), np.abs(self._gravity @ jacobian))])
        model.opt.gravity[:] = own
        weights, inertias, per_kg = np.array(rows).swapaxes(0, 1)
        return weights, inertias, per_kg

    def _pose(self, data: mujoco.MjData, q: Array) -> None:
        model = self._model
        for joint, value in (*self._choice.locked.items(), *zip(self._choice.driven, q, strict=True)):
            data.qpos[model.jnt_qposadr[joint]] = value
