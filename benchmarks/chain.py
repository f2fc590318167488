# SPDX-License-Identifier: Apache-2.0
"""Arms with any number of joints, for plots of cost against joints; each link is a tenth shorter than the last one."""

from __future__ import annotations

from pathlib import Path

from metarl_robot.core.robot import Robot, load_robot

_AXES = ("0 0 1", "0 1 0")
_LENGTH_M, _MASS_KG, _SHORTER = 0.25, 3.0, 0.9


def chain(joints: int, folder: Path) -> Robot:
    """Write a serial arm to `folder`/chain<joints>; its joints turn about z and y alternately."""
    place = folder / f"chain{joints}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "robot.xml").write_text(_mjcf(joints), encoding="utf-8")
    (place / "robot.yaml").write_text(_description(joints), encoding="utf-8")
    return load_robot(place)


def _mjcf(joints: int) -> str:
    body = '<site name="tip" pos="0 0 0.1"/>'
    for k in reversed(range(joints)):
        length, mass = _LENGTH_M * _SHORTER**k, _MASS_KG * _SHORTER ** (3 * k)
        across, along = mass * length**2 / 12, 0.1 * mass * length**2 / 12
        body = f"""<body name="link{k}" pos="0 0 {length:.6g}">
  <joint name="joint{k}" axis="{_AXES[k % 2]}" range="-2.5 2.5" damping="0.1" armature="0.05"/>
  <inertial pos="0 0 {length / 2:.6g}" mass="{mass:.6g}" diaginertia="{across:.6g} {across:.6g} {along:.6g}"/>
  {body}
</body>"""
    motors = "\n".join(f'<motor joint="joint{k}" ctrlrange="-100 100"/>' for k in range(joints))
    return f"""<mujoco model="chain{joints}">
<compiler angle="radian" autolimits="true"/>
<option integrator="implicitfast" timestep="0.001"/>
<worldbody>{body}</worldbody>
<actuator>{motors}</actuator>
</mujoco>
"""


def _description(joints: int) -> str:
    lines = "\n".join(
        f"  - {{name: joint{k}, position_rad: [-2.5, 2.5], velocity_rad_s: 3.0, effort_nm: 100, effort_rate_nm_s: "
        f"5000, home_rad: 0.3}}"
        for k in range(joints)
    )
    return f"""name: chain{joints}
kind: arm
description: {joints} joints in a row
model: robot.xml
base_frame: base
control_rate_hz: 200
payload: {{site: tip, rated_mass_kg: 0.5}}
joints:
{lines}
"""
