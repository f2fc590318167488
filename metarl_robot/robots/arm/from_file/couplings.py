# SPDX-License-Identifier: Apache-2.0
"""Equality constraints, tendons and actuators without a joint: left out if they do not affect driven joints.

Those that couple or act on driven joints are refused, because the nominal model is a tree of independent motors.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.arm.from_file.joints import ON_JOINT, Choice, carrier
from metarl_robot.robots.arm.from_file.source import Source
from metarl_robot.robots.new_robot.findings import Findings

_CLOSE = 1e-9
_TENDON_FORCES = ("stiffness", "damping", "frictionloss", "armature", "limited")


def drop_couplings(source: Source, choice: Choice, findings: Findings) -> None:
    """Report the parts that are left out. Raises RobotError for one that acts on driven joints."""
    _equalities(source, choice, findings)
    moved = _moved(source.model, choice)
    for i in range(source.model.ntendon):
        _tendon(source, i, bool(moved.tendons[i]), findings)
    for i in range(source.model.nu):
        if int(source.model.actuator_trntype[i]) not in ON_JOINT:
            _actuator(source, i, bool(moved.actuators[i]), findings)


class _Moved:
    """Whether the lengths of tendons and actuators change if only the driven joints move."""

    def __init__(self, before: mujoco.MjData, after: mujoco.MjData) -> None:
        self.tendons: NDArray[np.bool_] = np.abs(after.ten_length - before.ten_length) > _CLOSE
        self.actuators: NDArray[np.bool_] = np.abs(after.actuator_length - before.actuator_length) > _CLOSE


def _moved(model: mujoco.MjModel, choice: Choice) -> _Moved:
    rng, lengths = np.random.default_rng(0), []
    for spread in (0.0, 0.3):
        data = mujoco.MjData(model)
        for joint, value in choice.locked.items():
            data.qpos[model.jnt_qposadr[joint]] = value
        for joint in choice.driven:
            data.qpos[model.jnt_qposadr[joint]] += 0.1 + spread * rng.uniform(0.5, 1.0)
        mujoco.mj_fwdPosition(model, data)
        lengths.append(data)
    return _Moved(*lengths)


def _equalities(source: Source, choice: Choice, findings: Findings) -> None:
    model = source.model
    for i in range(model.neq):
        kind, ends = int(model.eq_type[i]), (int(model.eq_obj1id[i]), int(model.eq_obj2id[i]))
        place = source.place("equality", model.equality(i).name) if model.equality(i).name else f"equality {i + 1}"
        if not model.eq_active0[i]:
            findings.changes.append(f"{place}, which is not active, is left out")
        elif kind == int(mujoco.mjtEq.mjEQ_JOINT):
            _joint_equality(source, choice, findings, place, ends)
        elif kind in (int(mujoco.mjtEq.mjEQ_CONNECT), int(mujoco.mjtEq.mjEQ_WELD)):
            bodies = _bodies(model, i, ends)
            if carrier(model, choice, bodies[0]) != carrier(model, choice, bodies[1]):
                said = f"closes a loop between '{model.body(bodies[0]).name}' and '{model.body(bodies[1]).name}'"
                raise source.refusal(place, said, "an arm is a tree: remove it, and lock the joints of the loop")
            findings.changes.append(f"{place}, within one rigid link, is left out")
        else:
            raise source.refusal(place, "is no constraint of joints or bodies", "remove it; the nominal model has none")


def _bodies(model: mujoco.MjModel, index: int, ends: tuple[int, int]) -> tuple[int, int]:
    if int(model.eq_objtype[index]) == int(mujoco.mjtObj.mjOBJ_SITE):
        return int(model.site_bodyid[ends[0]]), int(model.site_bodyid[ends[1]])
    return ends


def _joint_equality(source: Source, choice: Choice, findings: Findings, place: str, ends: tuple[int, int]) -> None:
    model = source.model
    driven = [model.joint(j).name for j in ends if j in choice.driven]
    names = " and ".join(f"'{model.joint(j).name}'" for j in ends if j >= 0)
    if not driven:
        return
    follower = source.place("joint", model.joint(ends[0]).name)
    if ends[0] in choice.by_option:
        findings.changes.append(f"{follower} no longer copies '{driven[0]}': it is held by --lock")
        return
    said = f"couples the joints {names}, of which '{driven[0]}' is driven"
    remedy = f"hold the copy with --lock {model.joint(ends[0]).name}=VALUE, or drive others with --joints"
    raise source.refusal(follower if source.is_urdf else place, said, remedy)


def _tendon(source: Source, index: int, moved: bool, findings: Findings) -> None:
    model = source.model
    place = source.place("tendon", model.tendon(index).name)
    forces = [name for name in _TENDON_FORCES if np.any(getattr(model, f"tendon_{name}")[index])]
    if moved and forces:
        said = f"acts on driven joints by its {', '.join(forces)}"
        raise source.refusal(place, said, "remove it, or write springs and dampers as those of joints")
    findings.changes.append(f"{place} is left out" + ("" if moved else ": no driven joint moves it"))


def _actuator(source: Source, index: int, moved: bool, findings: Findings) -> None:
    place = source.place("actuator", source.model.actuator(index).name)
    if moved:
        raise source.refusal(place, "drives joints by a tendon or a site", "give each driven joint a motor of its own")
    findings.changes.append(f"{place} is left out: it drives no driven joint")
