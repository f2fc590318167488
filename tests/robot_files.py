# SPDX-License-Identifier: Apache-2.0
"""Small robot files of different make for tests: two bases, of which tests make variants by replacing text."""

from __future__ import annotations

LIMIT = '<limit lower="-2.6" upper="2.6" effort="{effort}" velocity="{velocity}"/>'


def link(name: str, mass: float, extra: str = "") -> str:
    size = 0.03 * mass**0.5
    inertia = f'ixx="{size:.5f}" iyy="{1.2 * size:.5f}" izz="{0.6 * size:.5f}" ixy="0.0011" ixz="-0.0007" iyz="0.0005"'
    return (
        f'<link name="{name}"><inertial><origin xyz="0.01 -0.02 0.09" rpy="0.2 -0.1 0.4"/><mass value="{mass}"/>'
        f"<inertia {inertia}/></inertial>{extra}</link>\n"
    )


def joint(name: str, parent: str, child: str, axis: str, kind: str = "revolute", more: str = "") -> str:
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="0.02 0 0.21" rpy="0.1 0.3 -0.2"/><axis xyz="{axis}"/>{more}</joint>\n'
    )


def urdf() -> str:
    """A six-joint arm with a two-finger hand that mirrors; its meshes are in a package that nobody has."""
    mesh = '<visual><geometry><mesh filename="package://nobody_has_this/upper.stl"/></geometry></visual>'
    axes = ("0 0 1", "0 1 0", "0 1 0", "1 0 0", "0 1 0", "0 0 1")
    masses, efforts = (4.0, 3.5, 2.5, 1.2, 0.8, 0.5), (150, 150, 100, 40, 30, 20)
    text = '<?xml version="1.0"?>\n<robot name="six">\n' + link("pedestal", 9.0)
    before = "pedestal"
    for i, (axis, mass, effort) in enumerate(zip(axes, masses, efforts, strict=True), start=1):
        dynamics = '<dynamics damping="0.4" friction="0.3"/>' if i < 3 else ""
        text += link(f"link_{i}", mass, mesh if i == 2 else "")
        text += joint(f"axis_{i}", before, f"link_{i}", axis, more=LIMIT.format(effort=effort, velocity=2.5) + dynamics)
        before = f"link_{i}"
    text += '<link name="tool0"/>' + joint("tool_fixed", "link_6", "tool0", "0 0 1", "fixed")
    opening = '<limit lower="0" upper="0.05" effort="15" velocity="0.2"/>'
    for side, more in (("left", ""), ("right", '<mimic joint="left_finger_joint" multiplier="-1" offset="0.06"/>')):
        text += link(f"{side}_finger", 0.15)
        text += joint(f"{side}_finger_joint", "tool0", f"{side}_finger", "1 0 0", "prismatic", opening + more)
    return text + "</robot>\n"


MJCF = """<mujoco model="four">
  <compiler angle="degree" autolimits="true"/>
  <default>
    <joint armature="0.05" damping="0.3"/>
    <default class="wrist"><joint armature="0.01"/></default>
  </default>
  <worldbody>
    <geom type="plane" size="1 1 0.1" contype="0" conaffinity="0"/>
    <body name="stand" pos="0.1 0 0.2" euler="0 0 30">
      <inertial mass="5" pos="0 0 0" diaginertia="0.1 0.1 0.1"/>
      <body name="turret" pos="0 0 0.1">
        <inertial mass="3" pos="0 0.02 0.05" diaginertia="0.03 0.03 0.02"/>
        <joint name="turn" axis="0 0 1" range="-150 150"/>
        <body name="boom" pos="0 0 0.15" euler="10 0 0">
          <inertial mass="2" pos="0.15 0.01 0" fullinertia="0.004 0.03 0.03 0.0005 0.0002 0"/>
          <joint name="lift" axis="0 1 0" range="-100 60"/>
          <body name="fore" pos="0.35 0 0">
            <inertial mass="1.2" pos="0.1 0 0.02" diaginertia="0.002 0.012 0.012"/>
            <joint name="bend" axis="0 1 0" range="-20 140"/>
            <body name="palm" pos="0.3 0 0">
              <inertial mass="0.4" pos="0.03 0 0" diaginertia="0.0004 0.0006 0.0006"/>
              <joint name="roll" class="wrist" axis="1 0 0" range="-170 170"/>
              <geom type="capsule" size="0.02" fromto="0 0 0 0.05 0 0" mass="0"/>
              <site name="attachment_site" pos="0.06 0 0" euler="0 90 0"/>
            </body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="m1" joint="turn" ctrlrange="-60 60"/>
    <motor name="m2" joint="lift" ctrlrange="-80 80"/>
    <motor name="m3" joint="bend" ctrlrange="-40 40"/>
    <motor name="m4" joint="roll" ctrlrange="-8 8"/>
  </actuator>
</mujoco>
"""

FINGERS = """<site name="attachment_site" pos="0.06 0 0" euler="0 90 0"/>
              <body name="finger_a" pos="0.05 0.01 0">
                <inertial mass="0.08" pos="0.01 0 0" diaginertia="0.0001 0.0001 0.0001"/>
                <joint name="slide_a" type="slide" axis="0 1 0" range="0 0.04"/>
              </body>
              <body name="finger_b" pos="0.05 -0.01 0">
                <inertial mass="0.08" pos="0.01 0 0" diaginertia="0.0001 0.0001 0.0001"/>
                <joint name="slide_b" type="slide" axis="0 -1 0" range="0 0.04"/>
              </body>"""
GRIPPER = """<tendon><fixed name="split">
    <joint joint="slide_a" coef="0.5"/><joint joint="slide_b" coef="0.5"/>
  </fixed></tendon>
  <equality><joint joint1="slide_b" joint2="slide_a" polycoef="0.001 1 0 0 0"/></equality>
  <actuator><general name="grip" tendon="split" ctrlrange="0 1" gainprm="10"/></actuator>
"""
"""Parts of a hand on MJCF's palm: two fingers that move together by a tendon, one motor."""


def mjcf(*changes: tuple[str, str]) -> str:
    """The four-joint arm with replaced texts; each must be there."""
    return replaced(MJCF, *changes)


def with_gripper() -> str:
    site = '<site name="attachment_site" pos="0.06 0 0" euler="0 90 0"/>'
    return mjcf((site, FINGERS), ("</mujoco>", GRIPPER + "</mujoco>"))


def replaced(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text
