# SPDX-License-Identifier: Apache-2.0
"""Loading compares the MJCF with what controllers assume: a difference is refused with its element and a remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metarl_robot.core.errors import RobotError
from metarl_robot.core.robot import MODELS_DIR, available_robots, load_robot

XML = (MODELS_DIR / "planar2" / "robot.xml").read_text(encoding="utf-8")
YAML = (MODELS_DIR / "planar2" / "robot.yaml").read_text(encoding="utf-8")
_ELBOW = '<motor name="elbow" joint="elbow" ctrlrange="-20 20"/>'
_HINGE = '<joint name="elbow" range="-2.6 2.6"/>'


def loaded(tmp_path: Path, xml: str = XML, yaml: str = YAML) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(MODELS_DIR / "planar2", folder)
    (folder / "robot.xml").write_text(xml, encoding="utf-8")
    (folder / "robot.yaml").write_text(yaml, encoding="utf-8")
    load_robot(folder)


def motor(element: str) -> str:
    return XML.replace(_ELBOW, element)


def ending(text: str) -> str:
    return XML.replace("</mujoco>", text + "</mujoco>")


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        (motor('<position name="elbow" joint="elbow" kp="100"/>'), "actuator 'elbow': is no torque motor.*robot new"),
        (motor('<velocity name="elbow" joint="elbow" kv="5"/>'), "actuator 'elbow': is no torque motor"),
        (motor('<motor name="elbow" joint="elbow" gear="100"/>'), "gear times gain is 100"),
        (
            motor('<motor name="elbow" joint="elbow" armature="0.1"/>'),
            "actuator 'elbow'.*armature.*give them to the joint",
        ),
        (motor('<motor name="elbow" joint="elbow" damping="0.1"/>'), "actuator 'elbow'.*damping"),
        (motor('<motor name="elbow" joint="elbow" ctrlrange="-5 5"/>'), r"ctrlrange: \[-5, 5\] is narrower"),
        (motor('<motor name="elbow" joint="elbow" forcerange="-5 5"/>'), r"forcerange: \[-5, 5\] is narrower"),
        (
            motor('<motor name="elbow" joint="elbow" delay="0.02" nsample="9"/>'),
            "joint 'elbow': a command of .* acts as",
        ),
        (
            XML.replace(_HINGE, _HINGE.replace("/>", ' actuatorfrcrange="-5 5"/>')),
            "'elbow': actuatorfrcrange: .*narrower",
        ),
        (XML.replace(_HINGE, _HINGE.replace("/>", ' frictionloss="0.4"/>')), "'elbow': frictionloss is 0.4"),
        (XML.replace(_HINGE, _HINGE + '<joint name="twist" axis="1 0 0"/>'), "joints: names and order"),
        (XML.replace("<option ", '<option density="5" viscosity="2" '), "passive force should be"),
        (
            XML.replace("<worldbody>", '<option><flag gravity="disable"/></option><worldbody>', 1),
            "gravity is switched off",
        ),
        (
            XML.replace("<worldbody>", '<option><flag damper="disable"/></option><worldbody>', 1),
            "passive force should be",
        ),
        (ending('<equality><joint joint1="elbow" joint2="shoulder"/></equality>'), "equality: couples joints"),
        (
            ending('<tendon><fixed stiffness="9"><joint joint="elbow" coef="1"/></fixed></tendon>'),
            "joint 'elbow': passive force should be",
        ),
        (
            ending('<tendon><fixed frictionloss="9"><joint joint="elbow" coef="1"/></fixed></tendon>'),
            "joint 'elbow': constraint force should be",
        ),
        (
            XML.replace(
                "<worldbody>", '<worldbody><body name="table"><geom name="top" type="box" size="1 1 0.05"/></body>', 1
            )
            .replace('<geom fromto="0 0 0 0.3 0 0"/>', '<geom fromto="0 0 0 0.3 0 0" contype="1"/>')
            .replace('contype="0" conaffinity="0" mass="0" size', 'conaffinity="0" contype="0" mass="0" size')
            .replace('name="top" type="box"', 'name="top" type="box" pos="0.3 0 0.5" contype="1" conaffinity="1"'),
            "touches body .* at home.*contype='0'",
        ),
        (
            XML.replace("<worldbody>", '<worldbody><site name="tip"/>', 1).replace(
                '<site name="tip" pos="0.3 0 0"/>', ""
            ),
            "payload.site: site 'tip' is on the fixed base",
        ),
        (
            XML.replace(_HINGE, '<joint name="elbow" type="slide" range="-2.6 2.6"/>'),
            "'elbow' is a slide: give position_m",
        ),
    ],
)
def test_a_model_that_controllers_would_misread_is_refused(tmp_path: Path, xml: str, why: str) -> None:
    assert xml != XML
    with pytest.raises(RobotError, match=why):
        loaded(tmp_path, xml)


def test_two_joints_of_one_body_are_refused(tmp_path: Path) -> None:
    xml = XML.replace(_HINGE, _HINGE + '<joint name="twist" axis="1 0 0"/>')
    xml = xml.replace(_ELBOW, _ELBOW + '<motor name="twist" joint="twist"/>')
    row = [line for line in YAML.splitlines() if "name: elbow" in line][0]
    with pytest.raises(RobotError, match="body 'fore': has 2 joints; give each joint its own body"):
        loaded(tmp_path, xml, YAML + row.replace("elbow", "twist") + "\n")


SLIDE = "{name: elbow, position_m: [-0.2, 0.4], velocity_m_s: 1.0, effort_n: 80, effort_rate_n_s: 900, home_m: 0.1}"


def with_slide(text: str = SLIDE) -> tuple[str, str]:
    xml = XML.replace(_HINGE, '<joint name="elbow" type="slide" axis="1 0 0" range="-0.2 0.4"/>')
    xml = xml.replace('ctrlrange="-20 20"', 'ctrlrange="-80 80"')
    row = [line for line in YAML.splitlines() if "name: elbow" in line][0]
    return xml, YAML.replace(row, f"  - {text}")


def test_a_slide_has_its_own_units(tmp_path: Path) -> None:
    loaded(tmp_path, *with_slide())


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("home_m: 0.1", "home_m: 9", "joints.1: .*home_m within"),
        ("effort_n: 80", "effort_nm: 80", "joints.1.effort_nm: .*allowed keys: .*effort_n,"),
        ("velocity_m_s: 1.0", "velocity_m_s: 1e9", r"joints.1.velocity_m_s: .*allowed: \[0.0001"),
        ("position_m: [-0.2, 0.4]", "position_m: [0.4, -0.2]", "lower < upper"),
    ],
)
def test_a_wrong_slide_is_named_with_what_is_allowed(tmp_path: Path, old: str, new: str, why: str) -> None:
    xml, yaml = with_slide(SLIDE.replace(old, new))
    with pytest.raises(RobotError, match=why):
        loaded(tmp_path, xml, yaml)


@pytest.mark.parametrize("name", available_robots(kind="arm"))
def test_the_shipped_arms_pass(name: str) -> None:
    load_robot(name)
