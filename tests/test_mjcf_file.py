# SPDX-License-Identifier: Apache-2.0
"""robot.xml: files that hang, exhaust or end the process in MuJoCo are refused before; impossible ones after."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metarl_robot.core.errors import RobotError
from metarl_robot.core.robot import MODELS_DIR, load_robot
from metarl_robot.sim.arm.model import compile_model

XML = (MODELS_DIR / "planar2" / "robot.xml").read_text(encoding="utf-8")
_TOP = "<worldbody>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(MODELS_DIR / "planar2", tmp_path / "mine")
    return tmp_path / "mine"


def before_bodies(text: str) -> str:
    return XML.replace(_TOP, text + _TOP, 1)


def in_world(text: str) -> str:
    return XML.replace(_TOP, _TOP + text, 1)


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        ('<!DOCTYPE x [<!ENTITY a "aaa"><!ENTITY b "&a;&a;">]>' + XML, "line 1: a document type"),
        (
            before_bodies('<asset><model name="m" file="robot.xml"/></asset>'),
            "element 'model' is not allowed.*mj_saveLastXML",
        ),
        (in_world('<replicate count="100000000"><geom size="1"/></replicate>'), "element 'replicate' is not allowed"),
        (in_world('<flexcomp name="f" type="grid" count="3000 3000 3000"/>'), "element 'flexcomp'"),
        (before_bodies('<size nkey="2000000000"/>'), "size: nkey: numbers must be finite and at most 8192"),
        (before_bodies('<size memory="100G"/>'), "'memory' is not allowed"),
        (
            before_bodies('<asset><texture type="2d" builtin="flat" width="60000" height="60000"/></asset>'),
            "texture: width",
        ),
        (in_world("<body>" * 3000 + "</body>" * 3000), "nested 100 deep"),
        (before_bodies('<include file="robot.xml"/>'), "includes 'robot.xml' again"),
        (before_bodies('<include file="/nowhere"/>'), "/nowhere: cannot be read"),
        (before_bodies('<asset><mesh name="m" file="no.stl"/></asset>'), "MuJoCo cannot compile.*no.stl"),
        (XML.replace('mass="', 'mass="nan', 1).replace("nan", "nan ", 1), "robot.xml: line .*finite"),
        (XML.replace('mass="', 'mass="1e300 ', 1), "finite and at most"),
        (before_bodies('<option gravity="0 0 -1e6"/>'), "gravity: .*allowed: up to 100"),
        ("", "not valid XML"),
        ("\0", "not valid XML"),
        ("<mujoco>", "not valid XML"),
        ("<mujoco/>", "names and order must be those of robot.xml"),
        ("<!-- " + "x" * (5 << 20) + " -->" + XML, "is larger than"),
    ],
)
def test_what_mujoco_must_not_be_given_is_refused(folder: Path, xml: str, why: str) -> None:
    (folder / "robot.xml").write_text(xml, encoding="utf-8")
    with pytest.raises(RobotError, match=why) as caught:
        load_robot(folder)
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


def test_motors_that_drive_no_joint_or_one_twice_are_refused(folder: Path) -> None:
    (folder / "robot.xml").write_text(
        XML.replace('joint="elbow"/>', 'joint="shoulder"/>').replace('joint="elbow" ', 'joint="shoulder" ')
    )
    with pytest.raises(RobotError, match="one motor per joint"):
        load_robot(folder)


def test_names_that_the_simulation_uses_itself_are_refused(folder: Path) -> None:
    (folder / "robot.xml").write_text(in_world('<site name="cable_anchor"/>'))
    with pytest.raises(RobotError, match="are reserved"):
        compile_model(load_robot(folder))


@pytest.mark.parametrize("model", ["nowhere.xml", "", ".", "x" * 900, "../../../../etc/passwd"])
def test_a_model_file_that_cannot_be_read_is_named(folder: Path, model: str) -> None:
    text = (folder / "robot.yaml").read_text().replace("model: robot.xml", f"model: '{model}'")
    (folder / "robot.yaml").write_text(text)
    with pytest.raises(RobotError, match="cannot be read|not valid XML"):
        load_robot(folder)
