# SPDX-License-Identifier: Apache-2.0
"""Limits and start position of the driven joints: from options, the file, or a rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import mujoco
import numpy as np

from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.arm.from_file.armatures import with_armatures
from metarl_robot.robots.arm.from_file.joint_limit import JointLimit
from metarl_robot.robots.arm.from_file.joints import Choice, keyframe
from metarl_robot.robots.arm.from_file.loads import Loads
from metarl_robot.robots.arm.from_file.motors import Motor
from metarl_robot.robots.arm.from_file.source import Source
from metarl_robot.robots.new_robot.findings import Findings, Origin
from metarl_robot.robots.new_robot.options import Options, joint_pairs, joint_values

_TURNS_RAD = 2.0 * math.pi  # of a joint without limits, either way
_LARGEST_RAD = 4.0 * math.pi  # that robot.yaml allows
_NARROW_RAD = 0.2  # of a range in rad that was read as degrees
_TRAVEL_M = 1.0
_SPEED = {False: 2.0, True: 0.5}  # rad/s, m/s: usual for arms
_FULL_EFFORT_S = 0.05
_INNER = 0.8  # share of the range in which zero is taken as home


def joint_limits(
    source: Source, options: Options, choice: Choice, motors: Mapping[int, Motor], loads: Loads, findings: Findings
) -> dict[int, JointLimit]:
    """Limits of each driven joint, by id. Raises MetaRLError."""
    model = source.model
    names = [model.joint(j).name for j in choice.driven]
    given = _Given(options, names)
    found = {j: _without_effort(source, given, j, motors[j], findings) for j in choice.driven}
    needed = loads.guessed_efforts(found)
    limits = _with_efforts(source, given, found, motors, needed, findings)
    known = joint_values("--armature", options.armature, names)
    return with_armatures(source, limits, needed, set(known), findings)


class _Given:
    """Joint values of the options, by name."""

    def __init__(self, options: Options, names: list[str]) -> None:
        self.position = joint_pairs("--position", options.position, names)
        self.velocity = joint_values("--velocity", options.velocity, names)
        self.effort = joint_values("--effort", options.effort, names)
        self.effort_rate = joint_values("--effort-rate", options.effort_rate, names)
        self.home = joint_values("--home", options.home, names)


def _without_effort(source: Source, given: _Given, joint: int, motor: Motor, findings: Findings) -> JointLimit:
    model = source.model
    _refuse_nonlinear(source, joint)
    name, dof = model.joint(joint).name, int(model.jnt_dofadr[joint])
    is_slide = int(model.jnt_type[joint]) == int(mujoco.mjtJoint.mjJNT_SLIDE)
    friction = float(model.dof_frictionloss[dof])
    if friction > 0.0:
        unit = "N" if is_slide else "Nm"
        findings.changes.append(
            f"joint '{name}': frictionloss {friction:g} {unit} is left out of the nominal model; adapters estimate it"
        )
    position = _position(source, given, joint, is_slide, findings)
    velocity = _velocity(source, given, name, is_slide, motor, findings)
    home = _home(source, given, joint, position, findings)
    armature, damping = float(model.dof_armature[dof]) + motor.armature, float(np.ravel(model.dof_damping[dof])[0])
    limited = bool(model.jnt_limited[joint]) or name in given.position
    return JointLimit(name, is_slide, limited, position, velocity, 0.0, 0.0, home, armature, damping + motor.damping)


def _refuse_nonlinear(source: Source, joint: int) -> None:
    model = source.model
    place = source.place("joint", model.joint(joint).name)
    if np.any(model.jnt_stiffnesspoly[joint]) or np.any(model.dof_dampingpoly[model.jnt_dofadr[joint]]):
        raise source.refusal(place, "its stiffness or damping is not linear", "give one number, the linear coefficient")
    if np.any(model.jnt_springyield[joint]):
        raise source.refusal(place, "its spring yields", "remove springyield: the nominal model has linear springs")


def _position(source: Source, given: _Given, joint: int, is_slide: bool, findings: Findings) -> tuple[float, float]:
    model, name = source.model, source.model.joint(joint).name
    own = (float(model.jnt_range[joint, 0]), float(model.jnt_range[joint, 1]))
    limited = bool(model.jnt_limited[joint])
    if name in given.position:
        limits, origin, detail = given.position[name], Origin.OPTION, "--position"
        if not limits[0] < limits[1]:
            raise MetaRLError(f"--position: {name}: LOWER must be below UPPER; given: {limits[0]:g}:{limits[1]:g}")
    elif limited:
        limits, origin, detail = own, Origin.FILE, "<limit>" if source.is_urdf else "range"
    elif is_slide:
        limits, origin, detail = (-_TRAVEL_M, _TRAVEL_M), Origin.GUESS, "the file has no limits; --position"
    else:
        limits, origin, detail = (-_TURNS_RAD, _TURNS_RAD), Origin.DEFAULT, "turns without end: one turn either way"
        findings.changes.append(
            f"joint '{name}' turns without end: it gets limits of one turn either way; its driver may give angles "
            "within (-π, π]"
        )
    if not is_slide and max(-limits[0], limits[1]) > _LARGEST_RAD:
        said = f"its limits [{limits[0]:g}, {limits[1]:g}] rad are beyond two turns: are they in degrees?"
        raise source.refusal(source.place("joint", name), said, "correct them, or give --position")
    if not is_slide and limits[1] - limits[0] < _NARROW_RAD and name not in given.position:
        remedy = 'an MJCF is in degrees unless its compiler says angle="radian"' if not source.is_urdf else "--position"
        findings.warnings.append(f"joint '{name}' may turn by {limits[1] - limits[0]:.2g} rad only: {remedy}")
    unit = "m" if is_slide else "rad"
    findings.add(name, "position", f"{limits[0]:.4g} … {limits[1]:.4g} {unit}", origin, detail)
    return limits


def _velocity(source: Source, given: _Given, name: str, is_slide: bool, motor: Motor, findings: Findings) -> float:
    if name in given.velocity:
        value, origin, detail = given.velocity[name], Origin.OPTION, "--velocity"
    elif name in source.velocity_limits:
        value, origin, detail = source.velocity_limits[name], Origin.FILE, "<limit velocity=>"
    elif motor.velocity is not None:
        (value, detail), origin = motor.velocity, Origin.FILE
    else:
        value, origin, detail = _SPEED[is_slide], Origin.GUESS, "usual for arms; --velocity"
    findings.add(name, "velocity", f"{value:.4g} {'m/s' if is_slide else 'rad/s'}", origin, detail)
    return value


def _home(source: Source, given: _Given, joint: int, position: tuple[float, float], findings: Findings) -> float:
    model, name = source.model, source.model.joint(joint).name
    key, (lower, upper) = keyframe(model), position
    middle, half = 0.5 * (lower + upper), 0.5 * (upper - lower)
    if name in given.home:
        value, origin, detail = given.home[name], Origin.OPTION, "--home"
        if not lower <= value <= upper:
            raise MetaRLError(f"--home: {name}: must be within [{lower:g}, {upper:g}]; given: {value:g}")
    elif key is not None:
        value = float(np.clip(model.key_qpos[key, model.jnt_qposadr[joint]], lower, upper))
        moved = ", moved into the limits" if value != model.key_qpos[key, model.jnt_qposadr[joint]] else ""
        origin, detail = Origin.FILE, f"keyframe '{model.key(key).name}'{moved}"
    elif abs(middle) <= _INNER * half:
        value, origin, detail = 0.0, Origin.GUESS, "zero; --home"
    else:
        value, origin, detail = middle, Origin.GUESS, "the middle of its range; --home"
    findings.add(name, "home", f"{value:.4g}", origin, detail)
    return value


def _with_efforts(
    source: Source,
    given: _Given,
    found: Mapping[int, JointLimit],
    motors: Mapping[int, Motor],
    needed: Mapping[int, float],
    findings: Findings,
) -> dict[int, JointLimit]:
    """Add the effort limits and their rates; a missing limit is guessed from the weight on the joint.

    needed: efforts that three times the weight needs, by joint.
    """
    result: dict[int, JointLimit] = {}
    for joint, limit in found.items():
        name, unit, stated = limit.name, "N" if limit.is_slide else "Nm", motors[joint].effort
        if name in given.effort:
            effort, origin, detail = given.effort[name], Origin.OPTION, "--effort"
        elif stated is not None:
            (effort, detail), origin = stated, Origin.FILE
        else:
            detail = "three times the weight it bears, or for the payload; --effort"
            effort, origin = needed[joint], Origin.GUESS
        findings.add(name, "effort", f"{effort:.4g} {unit}", origin, detail)
        rate, origin, detail = effort / _FULL_EFFORT_S, Origin.DEFAULT, f"full effort within {_FULL_EFFORT_S:g} s"
        if name in given.effort_rate:
            rate, origin, detail = given.effort_rate[name], Origin.OPTION, "--effort-rate"
        findings.add(name, "effort rate", f"{rate:.4g} {unit}/s", origin, detail)
        result[joint] = replace(limit, effort=effort, effort_rate=rate)
    return result
