# SPDX-License-Identifier: Apache-2.0
"""Makes a robot folder's files from a URDF or MJCF file; nothing is written here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import mujoco
import numpy as np

from metarl_robot.core.errors import RobotError, one_line
from metarl_robot.core.xml_tree import read_tree
from metarl_robot.robots.arm.from_file.agreement import check_agreement
from metarl_robot.robots.arm.from_file.couplings import drop_couplings
from metarl_robot.robots.arm.from_file.description_file import Description, description_text
from metarl_robot.robots.arm.from_file.flange import choose_flange
from metarl_robot.robots.arm.from_file.joints import Choice, choose_joints
from metarl_robot.robots.arm.from_file.limits import joint_limits
from metarl_robot.robots.arm.from_file.loads import Loads
from metarl_robot.robots.arm.from_file.mjcf import read_mjcf
from metarl_robot.robots.arm.from_file.model_file import ModelFile
from metarl_robot.robots.arm.from_file.motors import motors_of
from metarl_robot.robots.arm.from_file.pictures import Pictures
from metarl_robot.robots.arm.from_file.pid_gains import pid_file
from metarl_robot.robots.arm.from_file.source import Source
from metarl_robot.robots.arm.from_file.urdf import read_urdf
from metarl_robot.robots.arm.plausibility import doubtful_links
from metarl_robot.robots.new_robot.findings import Findings, Origin
from metarl_robot.robots.new_robot.made import NewRobot
from metarl_robot.robots.new_robot.options import Options, joint_values

_RATE_HZ = 200.0
_FORBIDDEN = re.compile(r"[^\w./:+-]")


def convert(path: Path, name: str, options: Options) -> NewRobot:
    """Convert a file into a robot called `name`. Raises MetaRLError with element and remedy."""
    findings = Findings()
    options.refuse_for("an arm", options.of_multirotors)
    source = read_source(path, options, findings)
    choice = choose_joints(source, options, findings)
    _set_armatures(source, choice, options, findings)
    drop_couplings(source, choice, findings)
    motors = motors_of(source, choice, findings)
    own_weight = _motors_bear_gravity_compensation(source, choice, findings)
    gravity = _gravity(source, options, findings)
    loads = Loads(source.model, choice, gravity)
    joints = joint_limits(source, options, choice, motors, loads, findings)
    tool = choose_flange(source, options, choice, findings)
    pictures = Pictures(source.model)
    text = ModelFile(name, source.model, choice, joints, tool, gravity, pictures, not own_weight).text()
    made = _compiled(source, text, pictures.meshes)
    findings.warnings.extend(doubtful_links(made, _reach_m(made, tool.name)))
    difference = check_agreement(source, choice, made, list(joints.values()))
    payload_kg, rate_hz = options.payload_kg, options.rate_hz
    if payload_kg is None:
        payload_kg = loads.guessed_payload(joints, (tool.body, tool.pose.position))
        findings.add("payload", "rated mass", f"{payload_kg:g} kg", Origin.GUESS, "by mass and strength; --payload")
    else:
        findings.add("payload", "rated mass", f"{payload_kg:g} kg", Origin.OPTION, "--payload")
    pid = pid_file(made, tool.name, payload_kg, list(joints.values()), findings)
    origin, rule = (Origin.DEFAULT, "--rate") if rate_hz is None else (Origin.OPTION, "--rate")
    findings.add("control_rate_hz", "control rate", f"{rate_hz or _RATE_HZ:g} Hz", origin, rule)
    base = _FORBIDDEN.sub("_", source.base)[:64]
    described = Description(name, path.name, base, rate_hz or _RATE_HZ, tool.name, payload_kg, list(joints.values()))
    files = {
        "robot.xml": text.encode(),
        "robot.yaml": description_text(described, findings).encode(),
        "config/pid.yaml": pid.encode(),
        **{f"meshes/{mesh}.stl": content for mesh, content in pictures.meshes.items()},
    }
    return NewRobot(files, findings, difference)


def _set_armatures(source: Source, choice: Choice, options: Options, findings: Findings) -> None:
    """Write the armatures of the options into the source's model."""
    joints = {source.model.joint(j).name: j for j in choice.driven}
    for name, armature in joint_values("--armature", options.armature, list(joints)).items():
        source.model.dof_armature[source.model.jnt_dofadr[joints[name]]] = armature
        findings.add(name, "armature", f"{armature:g}", Origin.OPTION, "--armature")


def read_source(path: Path, options: Options, findings: Findings) -> Source:
    """Read a file by the kind of its first element. Raises RobotError."""
    tag = read_tree(path).tag
    if tag == "robot":
        return read_urdf(path, options, findings)
    if tag == "mujoco":
        return read_mjcf(path, options.mesh_dirs, findings)
    raise RobotError(f"{path}: its first element is <{tag}>; allowed: <robot> (URDF) or <mujoco> (MJCF)")


def _motors_bear_gravity_compensation(source: Source, choice: Choice, findings: Findings) -> bool:
    """Whether the motors provide the gravity compensation, as part of their effort. Reports compensation."""
    model, driven = source.model, list(choice.driven)
    carried = np.flatnonzero(model.body_gravcomp * model.body_mass)
    if not len(carried):
        return False
    by_motor = [bool(model.jnt_actgravcomp[joint]) for joint in driven]
    if all(by_motor):
        findings.changes.append("gravity compensation by the motors (actuatorgravcomp) becomes part of the commands")
        return True
    if any(by_motor):
        said = "only some of the driven joints have actuatorgravcomp"
        raise source.refusal("gravity compensation", said, "set it for all of them or for none")
    share = f"{float(model.body_gravcomp[carried].min()):g} to {float(model.body_gravcomp[carried].max()):g}"
    findings.warnings.append(
        f"gravcomp {share} of {len(carried)} bodies is kept: something else than the motors carries them; "
        "set it to 0 in the file if the robot has no such thing"
    )
    return False


def _reach_m(model: mujoco.MjModel, site: str) -> float:
    """Length of the chain of moving bodies up to a site [m]."""
    body = int(model.site(site).bodyid[0])
    length = float(np.linalg.norm(model.site(site).pos))
    while model.body_weldid[model.body_parentid[body]]:
        length += float(np.linalg.norm(model.body_pos[body]))
        body = int(model.body_parentid[body])
    return length


def _gravity(source: Source, options: Options, findings: Findings) -> tuple[float, float, float]:
    if options.gravity is not None:
        gravity, origin = options.gravity, Origin.OPTION
    else:
        x, y, z = (float(value) for value in source.model.opt.gravity)
        gravity, origin = (x, y, z), Origin.DEFAULT if source.is_urdf else Origin.FILE
    detail = "in the axes of the base; --gravity for a wall or a ceiling"
    findings.add("gravity", "mounting", ", ".join(f"{value:g}" for value in gravity) + " m/s²", origin, detail)
    return gravity


def _compiled(source: Source, text: str, meshes: Mapping[str, bytes]) -> mujoco.MjModel:
    try:
        assets = {f"{name}.stl": content for name, content in meshes.items()}
        return mujoco.MjModel.from_xml_string(text, assets)
    except Exception as error:  # MuJoCo's own errors, ValueError, RuntimeError
        raise RobotError(f"{source.path}: MuJoCo cannot compile the new robot.xml: {one_line(error)}") from error
