# SPDX-License-Identifier: Apache-2.0
"""Choice of a file's driven joints, and of the values at which the others are fixed.

By default the driven joints are the longest chain of joints with a motor (in a URDF: of joints that are not mimic
joints). The chain ends where a hand begins: before joints with names of grippers or with mimic joints, or where it
branches after three joints or more into shorter chains. Longer ones are arms on a moving base.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.robots.arm.from_file.source import Source
from metarl_robot.robots.new_robot.findings import Findings, Origin
from metarl_robot.robots.new_robot.options import Options

_HAND = re.compile(r"finger|gripper|knuckle|jaw|claw|thumb|gripping", re.IGNORECASE)
_LABEL = re.compile(r"[\w./:+-]{1,64}")
_LEAST_ARM = 3  # joints before a branch, which then is a hand and not a second arm
_MOVING = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
ON_JOINT = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
"""Transmissions of actuators that act on a joint."""


@dataclass(frozen=True)
class Choice:
    """driven: joint ids in the file's order. locked: joint id → position [rad, m]. free: bodies that are left out."""

    driven: tuple[int, ...]
    locked: Mapping[int, float]
    left_out: frozenset[int]
    by_option: frozenset[int]


def choose_joints(source: Source, options: Options, findings: Findings) -> Choice:
    """Choose the driven joints. Raises MetaRLError with the remedy."""
    model = source.model
    names = [model.joint(j).name for j in range(model.njnt)]
    for name in (*options.joints, *options.lock):
        if name not in names:
            raise UnknownNameError("joint", name, names, source.path.name)
    twice = set(options.joints) & set(options.lock)
    if twice:
        raise MetaRLError(f"joint '{min(twice)}' is in --joints and in --lock; it must be in one of them")
    if options.joints:
        driven, origin, rule = sorted(names.index(name) for name in options.joints), Origin.OPTION, "--joints"
    else:
        driven, origin, rule = _chain(source, options), Origin.GUESS, "the longest chain up to the hand; --joints"
    for joint in driven:
        if not _LABEL.fullmatch(names[joint]):
            remedy = "rename it: letters, digits and . / : + - _ are allowed, at most 64"
            raise source.refusal(source.place("joint", names[joint]), "its name cannot stand in tables", remedy)
    findings.add("joints", "driven", ", ".join(names[j] for j in driven), origin, rule)
    _refuse_floating(source, driven)
    left_out = _other_trees(source, driven, findings)
    locked = _locked(source, options, driven, left_out, findings)
    return Choice(tuple(driven), locked, left_out, frozenset(names.index(name) for name in options.lock))


def _candidates(source: Source) -> list[int]:
    model = source.model
    moving = [j for j in range(model.njnt) if int(model.jnt_type[j]) in _MOVING and not _is_stuck(model, j)]
    if source.is_urdf:
        return [j for j in moving if model.joint(j).name not in source.mimics]
    on_joints = [i for i in range(model.nu) if int(model.actuator_trntype[i]) in ON_JOINT]
    actuated = {int(model.actuator_trnid[i, 0]) for i in on_joints}
    return [j for j in moving if j in actuated] if actuated else moving


def _is_stuck(model: mujoco.MjModel, joint: int) -> bool:
    """Whether a joint's range is a point."""
    return bool(model.jnt_limited[joint] and model.jnt_range[joint, 0] >= model.jnt_range[joint, 1])


def _chain(source: Source, options: Options) -> list[int]:
    """The longest chain of candidates, from the base."""
    model = source.model
    candidates = [j for j in _candidates(source) if model.joint(j).name not in options.lock]
    candidates = [j for j in candidates if not _of_hand(model, j)] or candidates
    children: dict[int, list[int]] = {j: [] for j in (-1, *candidates)}
    for joint in candidates:
        children[_parent(model, joint, candidates)].append(joint)
    path: list[int] = []
    waiting = children[-1]
    while waiting:
        lengths = {joint: _longest(joint, children) for joint in waiting}
        if len(waiting) > 1 and len(path) >= max(_LEAST_ARM, *lengths.values()):
            break
        best = [joint for joint in waiting if lengths[joint] == max(lengths.values())]
        if len(best) > 1:
            named = [f"'{model.joint(joint).name}'" for joint in best]
            said = f"chains of {lengths[best[0]]} joints begin at {', '.join(named)}"
            raise source.refusal("joints", said, "name the joints of one arm with --joints, or lock others with --lock")
        path.append(best[0])
        waiting = children[best[0]]
    copied = {_master(model, joint) for joint in range(model.njnt)}
    last = max((k for k, joint in enumerate(path) if joint not in copied), default=len(path) - 1)
    if not path:
        raise source.refusal("joints", "no joint that can be driven", "an arm has revolute or prismatic joints")
    return path[: last + 1]  # where all are copied, the copies are refused by name (couplings.py)


def _of_hand(model: mujoco.MjModel, joint: int) -> bool:
    return bool(_HAND.search(model.joint(joint).name))


def _parent(model: mujoco.MjModel, joint: int, candidates: Sequence[int]) -> int:
    """The nearest candidate that moves a joint, or -1."""
    body, before = int(model.jnt_bodyid[joint]), joint
    while body > 0:
        first, count = int(model.body_jntadr[body]), int(model.body_jntnum[body])
        own = [j for j in range(first, first + count) if j in candidates and j < before]
        if own:
            return own[-1]
        body = int(model.body_parentid[body])
    return -1


def _longest(joint: int, children: Mapping[int, Sequence[int]]) -> int:
    return 1 + max((_longest(child, children) for child in children[joint]), default=0)


def _refuse_floating(source: Source, driven: Sequence[int]) -> None:
    """Refuse free and ball joints that are driven or that move a driven joint."""
    model = source.model
    for joint in driven:
        body = int(model.jnt_bodyid[joint])
        while body > 0:
            first = int(model.body_jntadr[body])
            for other in range(first, first + int(model.body_jntnum[body])):
                if int(model.jnt_type[other]) not in _MOVING:
                    name = model.joint(other).name
                    said = f"body '{model.body(body).name}' is free to move or turn as a ball; an arm's base is fixed"
                    raise source.refusal(source.place("joint", name), said, "remove this joint")
            body = int(model.body_parentid[body])


def _other_trees(source: Source, driven: Sequence[int], findings: Findings) -> frozenset[int]:
    """Bodies of trees that hold a free or ball joint and no driven one: objects beside the robot."""
    model = source.model
    own = {int(model.body_rootid[model.jnt_bodyid[joint]]) for joint in driven}
    loose = {
        int(model.body_rootid[model.jnt_bodyid[j]]) for j in range(model.njnt) if int(model.jnt_type[j]) not in _MOVING
    }
    for root in sorted(loose - own):
        findings.changes.append(f"body '{model.body(root).name}', which moves freely beside the robot, is left out")
    for joint in range(model.njnt):
        if int(model.jnt_type[joint]) not in _MOVING and int(model.body_rootid[model.jnt_bodyid[joint]]) in own:
            said = "is free or a ball and part of the arm, whose joints are hinges and slides"
            raise source.refusal(source.place("joint", model.joint(joint).name), said, "remove it")
    return frozenset(b for b in range(1, model.nbody) if int(model.body_rootid[b]) in loose - own)


def keyframe(model: mujoco.MjModel) -> int | None:
    """Index of the keyframe named home, or of the first; None without any."""
    names = [model.key(k).name.lower() for k in range(model.nkey)]
    return names.index("home") if "home" in names else (0 if names else None)


def _locked(
    source: Source, options: Options, driven: Sequence[int], left_out: frozenset[int], findings: Findings
) -> dict[int, float]:
    model = source.model
    held = [j for j in range(model.njnt) if j not in driven and int(model.jnt_bodyid[j]) not in left_out]
    values: dict[int, float] = {}
    waiting = list(held)
    while waiting:
        ready = [j for j in waiting if _master(model, j) not in waiting] or waiting
        for joint in ready:
            name = model.joint(joint).name
            values[joint], origin, rule = _value(source, options, joint, values)
            detail = f"{rule}; its mass is kept; --lock {name}=VALUE"
            findings.add(name, "held at", f"{values[joint]:g}", origin, detail)
        waiting = [joint for joint in waiting if joint not in ready]
    return values


def _master(model: mujoco.MjModel, joint: int) -> int:
    """The joint whose position an equality makes this one copy, or -1."""
    index = _copy_of(model, joint)
    return -1 if index is None else int(model.eq_obj2id[index])


def _copy_of(model: mujoco.MjModel, joint: int) -> int | None:
    for i in range(model.neq):
        copies = int(model.eq_type[i]) == int(mujoco.mjtEq.mjEQ_JOINT) and int(model.eq_obj1id[i]) == joint
        if copies and model.eq_active0[i]:
            return i
    return None


def _value(source: Source, options: Options, joint: int, known: Mapping[int, float]) -> tuple[float, Origin, str]:
    model, name = source.model, source.model.joint(joint).name
    address = int(model.jnt_qposadr[joint])
    if name in options.lock:
        lower, upper = (float(bound) for bound in model.jnt_range[joint])
        if model.jnt_limited[joint] and not lower <= options.lock[name] <= upper:
            raise MetaRLError(f"--lock: {name}: must be within [{lower:g}, {upper:g}]; given: {options.lock[name]:g}")
        return options.lock[name], Origin.OPTION, "--lock"
    index, master = _copy_of(model, joint), _master(model, joint)
    if index is not None and (master < 0 or master in known):
        moved = 0.0 if master < 0 else known[master] - float(model.qpos0[model.jnt_qposadr[master]])
        value = float(model.qpos0[address]) + float(np.polyval(model.eq_data[index, 4::-1], moved))
        return value, Origin.FILE, "as it copies another held joint" if master >= 0 else "fixed by an equality"
    key = keyframe(model)
    if key is not None:
        return float(model.key_qpos[key, address]), Origin.FILE, f"keyframe '{model.key(key).name}'"
    value = float(model.qpos0[address])
    if model.jnt_limited[joint]:
        value = float(np.clip(value, *model.jnt_range[joint]))
    return value, Origin.DEFAULT, "its zero position, or the nearest within its range"


def carrier(model: mujoco.MjModel, choice: Choice, body: int) -> int:
    """The last driven joint that moves a body, or -1."""
    while body > 0:
        first = int(model.body_jntadr[body])
        own = [j for j in range(first, first + int(model.body_jntnum[body])) if j in choice.driven]
        if own:
            return own[-1]
        body = int(model.body_parentid[body])
    return -1
