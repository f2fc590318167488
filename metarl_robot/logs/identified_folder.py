# SPDX-License-Identifier: Apache-2.0
"""Files of a robot folder with identified parameters: robot.xml and robot.yaml anew, the rest of the folder as it is.

robot.xml has inertias, armatures and damping. Coulomb friction and motor strength, which an MJCF of this project does
not hold, are `effects` in robot.yaml. A link's whole inertia stands at the body that its joint moves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import yaml
from numpy.typing import NDArray

from metarl_robot.core.mjcf_robot import MjcfRobot
from metarl_robot.core.yaml_file import read_yaml
from metarl_robot.logs.identified_document import body_quantities
from metarl_robot.logs.identify import Identified
from metarl_robot.logs.recording import LogError

Array = NDArray[np.float64]

RECORD = "identification.json"
_WEIGHTS = ("dynamics*.json", "dynamics*.safetensors", "config/*.yaml")
_SYMMETRIC = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])
_DIGITS = 6


def folder_files(found: Identified, document: dict[str, Any]) -> dict[str, bytes]:
    """Contents by path. document: identified_document.py."""
    robot = found.problem.robot
    files = {str(path.relative_to(robot.folder)): path.read_bytes() for path in _kept(robot)}
    return {
        **files,
        RECORD: (json.dumps(document, indent=2, default=_plain) + "\n").encode(),
        "robot.xml": model_text(found).encode(),
        "robot.yaml": description_text(found).encode(),
    }


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _kept(robot: MjcfRobot) -> list[Path]:
    """Weights and settings, and the files that the model names."""
    spec = robot.mj_spec()
    folders = {"meshes": spec.compiler.meshdir, "textures": spec.compiler.texturedir}
    named = [robot.folder / folders[kind] / each.file for kind in folders for each in getattr(spec, kind) if each.file]
    outside = next((path for path in named if not path.resolve().is_relative_to(robot.folder.resolve())), None)
    if outside is not None:
        raise LogError(f"{robot.model_path}: names {outside}, which is outside its folder: copy it into the folder")
    return [*named, *(path for pattern in _WEIGHTS for path in sorted(robot.folder.glob(pattern)))]


def model_text(found: Identified) -> str:
    """The new robot.xml."""
    problem, robot = found.problem, found.problem.robot
    spec, x, layout = robot.mj_spec(), found.x, found.problem.layout
    spec.compile()
    bodies = {body.id: body for body in spec.bodies}
    spec.compiler.inertiafromgeom, spec.compiler.settotalmass = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_AUTO, -1.0
    for i, link in enumerate(problem.regressor.links):
        at = layout.link(i)
        for member in link.members:
            _set_inertia(bodies[member], np.zeros(10))
        _set_inertia(bodies[link.body], body_quantities(problem.nominal[at] + x[at]))
    for j, name in enumerate(robot.channel_names):
        joint = spec.joint(name)
        joint.armature = joint.armature + x[layout.of("armature")][j]
        joint.damping = [joint.damping[0] + x[layout.of("viscous")][j], 0.0, 0.0]
    spec.comment = f"Inertias, armatures and damping: metarl log identify; see {RECORD}. {spec.comment}"
    spec.compile()
    text: str = spec.to_xml()
    return text


def _set_inertia(body: Any, quantities: Array) -> None:
    """quantities: (10,) as in identified_document.OF_BODY."""
    moments, axes = np.linalg.eigh(quantities[4:][_SYMMETRIC])
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    mujoco.mju_mat2Quat(body.iquat, axes.ravel())
    body.explicitinertial, body.mass, body.ipos = True, quantities[0], quantities[1:4]
    body.inertia, body.fullinertia = np.maximum(moments, 0.0), np.full(6, np.nan)


def description_text(found: Identified) -> str:
    """The new robot.yaml."""
    robot, layout = found.problem.robot, found.problem.layout
    content = dict(read_yaml(robot.folder / "robot.yaml", LogError))
    content["model"] = "robot.xml"
    content["effects"] = {
        "coulomb": _rounded(found.z[layout.of("coulomb")]),
        "motor_strength": _rounded(1.0 + found.z[layout.of("strength")]),
    }
    head = (
        f"# Made by metarl log identify from {robot.argument} and recordings of it; {RECORD} has each parameter\n"
        "# before and after, with its standard error. effects: what robot.xml does not hold; adapters start there.\n"
    )
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=150, default_flow_style=None)


def _rounded(values: Array) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
