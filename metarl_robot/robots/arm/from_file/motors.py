# SPDX-License-Identifier: Apache-2.0
"""The actuators of driven joints as torque motors: effort limits, and the armature and damping that they add.

The command of a new robot's motor is the effort at the joint. It replaces a position or velocity servo; gears are
multiplied out, and several motors on a joint become one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from metarl_robot.robots.arm.from_file.joints import ON_JOINT, Choice
from metarl_robot.robots.arm.from_file.source import Source
from metarl_robot.robots.new_robot.findings import Findings

_CLOSE = 1e-9


@dataclass(frozen=True)
class Motor:
    """The motor of a joint. effort, velocity: limits that the file states, with their place; None: none.

    armature, damping: added to the joint's.
    """

    effort: tuple[float, str] | None
    velocity: tuple[float, str] | None
    armature: float
    damping: float


def motors_of(source: Source, choice: Choice, findings: Findings) -> dict[int, Motor]:
    """The motor of each driven joint. Raises RobotError."""
    found = {joint: _motor(source, joint, findings) for joint in choice.driven}
    for index in range(source.model.nu):
        joint = int(source.model.actuator_trnid[index, 0])
        if int(source.model.actuator_trntype[index]) in ON_JOINT and joint in choice.locked:
            findings.changes.append(f"{_place(source, index)} is left out: its joint is held")
    return found


def _motor(source: Source, joint: int, findings: Findings) -> Motor:
    model = source.model
    own = [
        i
        for i in range(model.nu)
        if int(model.actuator_trntype[i]) in ON_JOINT and int(model.actuator_trnid[i, 0]) == joint
    ]
    for index in own:
        _tell(source, index, findings)
    name = model.joint(joint).name
    if len(own) > 1:
        findings.changes.append(f"joint '{name}' has {len(own)} actuators: they become one motor")
    gears = [float(model.actuator_gear[i, 0]) for i in own]
    armature = sum(gear**2 * float(model.actuator_armature[i]) for i, gear in zip(own, gears, strict=True))
    damping = sum(gear**2 * float(model.actuator_damping[i]) for i, gear in zip(own, gears, strict=True))
    if armature or damping:
        findings.changes.append(f"joint '{name}': armature {armature:g} and damping {damping:g} of its actuators added")
    speeds = [found for i in own if (found := _speed(model, i)) is not None]
    return Motor(_effort(source, joint, own), min(speeds, default=None), armature, damping)


def _place(source: Source, index: int) -> str:
    name = source.model.actuator(index).name
    return source.place("actuator", name) if name else f"actuator {index + 1}"


def _is_motor(model: mujoco.MjModel, index: int) -> bool:
    return bool(
        model.actuator_gaintype[index] == mujoco.mjtGain.mjGAIN_FIXED
        and model.actuator_biastype[index] == mujoco.mjtBias.mjBIAS_NONE
        and model.actuator_dyntype[index] != mujoco.mjtDyn.mjDYN_INTEGRATOR
    )


def _tell(source: Source, index: int, findings: Findings) -> None:
    """Report how an actuator is converted. Raises RobotError for one that does not drive a joint."""
    model, place = source.model, _place(source, index)
    if np.any(model.actuator_dampingpoly[index]):
        raise source.refusal(place, "its damping is not linear", "give one number: the linear coefficient")
    if model.actuator_gaintype[index] == mujoco.mjtGain.mjGAIN_MUSCLE:
        raise source.refusal(place, "is a muscle", "an arm's joints have motors: write <motor joint=…/>")
    if not _is_motor(model, index):
        findings.changes.append(f"{place} is a {_kind(model, index)}: it becomes a motor, whose command is the effort")
        return
    gain = float(model.actuator_gainprm[index, 0] * model.actuator_gear[index, 0])
    if abs(gain - 1.0) > _CLOSE:
        findings.changes.append(f"{place} has gear times gain {gain:g}: commands are now efforts at the joint")
    if model.actuator_dyntype[index] != mujoco.mjtDyn.mjDYN_NONE or np.any(model.actuator_delay[index]):
        findings.changes.append(f"{place}: its lag or delay is left out of the nominal model")


def _kind(model: mujoco.MjModel, index: int) -> str:
    position, velocity = np.abs(model.actuator_biasprm[index, 1:3]) > 0.0
    if model.actuator_dyntype[index] == mujoco.mjtDyn.mjDYN_INTEGRATOR:
        return "velocity servo"
    if model.actuator_gaintype[index] == mujoco.mjtGain.mjGAIN_AFFINE:
        return "damper"
    if position:
        return "position servo"
    return "velocity servo" if velocity else "drive with its own law"


def _effort(source: Source, joint: int, own: Sequence[int]) -> tuple[float, str] | None:
    """Effort limit of a joint and its place: the lesser of its actuators' and the joint's own."""
    model = source.model
    each = [_actuator_effort(source, index) for index in own]
    known = [found for found in each if found is not None]
    limits: list[tuple[float, str]] = []
    if known and len(known) == len(own):
        if all(_is_motor(model, index) for index in own):
            limits.append((sum(value for value, _ in known), " + ".join(place for _, place in known)))
        else:
            limits.append(max(known))
    if model.jnt_actfrclimited[joint]:
        place = "<limit effort=>" if source.is_urdf else "actuatorfrcrange"
        limits.append((_both_ways(source, source.place("joint", model.joint(joint).name), place,
                                  model.jnt_actfrcrange[joint]), place))  # fmt: skip
    limits = [limit for limit in limits if limit[0] > 0.0]
    return min(limits, default=None)


def _actuator_effort(source: Source, index: int) -> tuple[float, str] | None:
    """Effort limit at the joint by an actuator's own ranges; None: it states none."""
    model, place = source.model, _place(source, index)
    gear = abs(float(model.actuator_gear[index, 0]))
    limits = []
    if model.actuator_forcelimited[index]:
        limits.append((gear * _both_ways(source, place, "forcerange", model.actuator_forcerange[index]), "forcerange"))
    if model.actuator_ctrllimited[index] and _is_motor(model, index):
        gain = abs(float(model.actuator_gainprm[index, 0]))
        value = _both_ways(source, place, "ctrlrange", model.actuator_ctrlrange[index])
        limits.append((gain * gear * value, "ctrlrange"))
    return min(limits, default=None)


def _both_ways(source: Source, place: str, name: str, given: Sequence[float]) -> float:
    """The effort that a range allows in both directions."""
    lower, upper = float(given[0]), float(given[1])
    if not (lower < 0.0 < upper or lower == upper == 0.0):
        raise source.refusal(place, f"{name} is [{lower:g}, {upper:g}]", "it must allow both directions")
    return min(-lower, upper)


def _speed(model: mujoco.MjModel, index: int) -> tuple[float, str] | None:
    """Velocity limit of a joint by the range of a velocity servo."""
    is_servo = model.actuator_biasprm[index, 2] != 0.0 and model.actuator_biasprm[index, 1] == 0.0
    if _is_motor(model, index) or not is_servo or not model.actuator_ctrllimited[index]:
        return None
    most = min(abs(float(bound)) for bound in model.actuator_ctrlrange[index])
    gear = abs(float(model.actuator_gear[index, 0]))
    return (most / gear, "ctrlrange of its velocity servo") if most > 0.0 and gear > 0.0 else None
