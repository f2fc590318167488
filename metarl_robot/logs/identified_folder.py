# SPDX-License-Identifier: Apache-2.0
"""Files of a robot folder with identified parameters: robot.xml and robot.yaml anew, the rest of the folder as it is.

robot.xml has inertias, armatures and damping. Coulomb friction and motor strength, which an MJCF of this project does
not hold, are `effects` in robot.yaml. A link's whole inertia stands at the body that its joint moves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import yaml
from numpy.typing import NDArray

from metarl_robot.core.mjcf_robot import MjcfRobot
from metarl_robot.core.xml_tree import Element, read_tree
from metarl_robot.core.yaml_file import read_yaml
from metarl_robot.logs.identified_document import body_quantities
from metarl_robot.logs.identify import Identified
from metarl_robot.logs.recording import LogError

Array = NDArray[np.float64]

RECORD = "identification.json"
WEIGHTS = ("dynamics*.json", "dynamics*.safetensors", "config/*.yaml")
_OF_WHOLE_MODEL = ("inertiafromgeom", "settotalmass", "balanceinertia", "boundmass", "boundinertia")
"""Settings that would change the inertias written out."""
_SYMMETRIC = np.array([[0, 3, 4], [3, 1, 5], [4, 5, 2]])
_DIGITS = 6


def folder_files(found: Identified, document: dict[str, Any]) -> dict[str, bytes]:
    """Contents by path. document: identified_document.py."""
    robot = found.problem.robot
    files = {str(path.relative_to(robot.folder)): path.read_bytes() for path in _kept(robot)}
    return {
        **files,
        RECORD: record_text(document),
        "robot.xml": model_text(found).encode(),
        "robot.yaml": description_text(found).encode(),
    }


def record_text(document: dict[str, Any]) -> bytes:
    """The record of an identification."""
    return (json.dumps(document, indent=2, default=_plain) + "\n").encode()


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
    return [*named, *(path for pattern in WEIGHTS for path in sorted(robot.folder.glob(pattern)))]


def model_text(found: Identified) -> str:
    """The new robot.xml: the old one, its includes inside, with other inertias, armatures and damping."""
    problem, robot, layout, x = found.problem, found.problem.robot, found.problem.layout, found.x
    root = read_tree(robot.model_path)
    _include(root, robot.model_path.parent)
    bodies = [world for place in root.all("worldbody") for world in _bodies(place)]
    if [body.attributes.get("name", "") for body in bodies] != [
        robot.mj_model.body(i).name for i in range(1, robot.mj_model.nbody)
    ]:
        raise LogError(
            f"{robot.model_path}: its bodies are not those that MuJoCo makes of it; write the model out first"
        )
    for compiler in root.all("compiler"):
        for name in _OF_WHOLE_MODEL:
            compiler.attributes.pop(name, None)
    for i, link in enumerate(problem.regressor.links):
        at = layout.link(i)
        for member in link.members:
            _set_inertia(bodies[member - 1], np.zeros(10))
        _set_inertia(bodies[link.body - 1], body_quantities(problem.nominal[at] + x[at]))
    joints = {each.attributes.get("name"): each for body in bodies for each in body.all("joint")}
    for j, name in enumerate(robot.channel_names):
        for key, kind in (("armature", "dof_armature"), ("damping", "dof_damping")):
            nominal = float(np.ravel(getattr(robot.mj_model, kind))[j])
            change = float(x[layout.of("armature" if key == "armature" else "viscous")][j])
            joints[name].attributes[key] = repr(nominal + change)
    return f"<!-- Inertias, armatures and damping: metarl log identify; see {RECORD}. -->\n{root.to_xml()}\n"


def _include(element: Element, folder: Path) -> None:
    """Put the contents of included files in the place of `include`."""
    children: list[Element] = []
    for child in element.children:
        if child.tag == "include":
            child = read_tree(folder / child.attributes["file"])
            _include(child, folder)
            children += child.children
        else:
            _include(child, folder)
            children.append(child)
    element.children = children


def _bodies(element: Element) -> Iterator[Element]:
    """The bodies below an element, in MuJoCo's order."""
    for child in element.children:
        if child.tag == "body":
            yield child
        if child.tag in ("body", "frame"):
            yield from _bodies(child)


def _set_inertia(body: Element, quantities: Array) -> None:
    """quantities: (10,) as in identified_document.OF_BODY."""
    moments, axes = np.linalg.eigh(quantities[4:][_SYMMETRIC])
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    values = {"mass": quantities[:1], "pos": quantities[1:4], "quat": quat, "diaginertia": np.maximum(moments, 0.0)}
    said = {key: " ".join(repr(float(value)) for value in each) for key, each in values.items()}
    others = [child for child in body.children if child.tag != "inertial"]
    body.children = [Element("inertial", said, body.line), *others]


def description_text(found: Identified) -> str:
    """The new robot.yaml."""
    robot, layout = found.problem.robot, found.problem.layout
    content = dict(read_yaml(robot.folder / "robot.yaml", LogError))
    content["model"] = "robot.xml"
    content["effects"] = {
        "coulomb": rounded(found.z[layout.of("coulomb")]),
        "motor_strength": rounded(1.0 + found.z[layout.of("strength")]),
    }
    head = (
        f"# Made by metarl log identify from {robot.argument} and recordings of it; {RECORD} has each parameter\n"
        "# before and after, with its standard error. effects: what robot.xml does not hold; adapters start there.\n"
    )
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=150, default_flow_style=None)


def rounded(values: Sequence[float] | Array) -> list[float]:
    """Values as they are written."""
    return [float(f"{value:.{_DIGITS}g}") for value in values]
