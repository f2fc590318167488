# SPDX-License-Identifier: Apache-2.0
"""The MJCF of a vehicle that stands on its wheels: a free body, wheels in contact with the ground, and a load.

It is made from the same description as the planar model. The body's frame lies on the ground below the centre of mass.
Not in the description, and taken from what is: a wheel's mass is that of a disc of its inertia, moments about x and y
are those of a box of the vehicle's size. Wheels are ellipsoids, so that each touches the ground in one point. Springs
and dampers are MuJoCo's soft contacts: a vehicle sinks in by about 3 mm, whatever its mass.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from metarl_robot.robots.ground.courses import size_m
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.sim.ground.chassis import add_payload

Array = NDArray[np.float64]

_WIDTH = 0.8
"""Width of a wheel, in radii."""
_ACROSS = 0.55
"""Moment of inertia of a wheel about a diameter, over that about its axle; 0.5 for a thin disc."""
_WHEELS_MASS, _WHEELS_INERTIA = 0.3, 0.6
"""Largest share of the vehicle's mass and yaw inertia that is in its wheels."""
_CLEARANCE = 0.5
"""Height of the body above the ground, in wheel radii."""
_REACH, _CELL, _SMOOTH = 4.0, 0.5, 1.5
"""Half length of the bumpy ground in sizes of the courses; its cells and the width of its bumps in wheel radii."""
_MOST = 3.0
"""Largest height of a bump, and depth of a hole, in standard deviations."""

_SLIP_S, _IMPRATIO = 0.2, 10
"""Time constant [s] of MuJoCo's friction, and its stiffness over the contact's. Of the usual 0.02 s, wheels that spin
fast hop: MuJoCo's friction lifts a contact in proportion to its slip."""


def tyre_name(index: int) -> str:
    """Name of a wheel's geom."""
    return f"tyre_{index}"


def wheel_name(index: int) -> str:
    """Name of a wheel's body."""
    return f"wheel_{index}"


def contact_model(robot: Ground, physics_dt_s: float, bump_height_m: float, seed: int) -> mujoco.MjModel:
    """The vehicle on flat ground, or on ground whose height has the standard deviation `bump_height_m`."""
    spec = mujoco.MjSpec.from_string(_mjcf(robot, physics_dt_s))
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    add_payload(spec, robot.base_frame)
    grounds = ["ground"]
    if bump_height_m > 0.0:
        _add_bumps(spec, robot, bump_height_m, seed)
        grounds.append("bumps")
    for ground in grounds:
        for index in range(len(robot.track.positions)):
            spec.add_pair(geomname1=ground, geomname2=tyre_name(index), condim=3, solreffriction=(_SLIP_S, 1.0))
    return spec.compile()


def _add_bumps(spec: mujoco.MjSpec, robot: Ground, height_m: float, seed: int) -> None:
    reach, cell = _REACH * size_m(robot), _CELL * robot.wheel_radius_m
    count = 2 * int(np.ceil(reach / cell)) + 1
    rough = gaussian_filter(np.random.default_rng(seed).standard_normal((count, count)), _SMOOTH / _CELL)
    heights = np.clip(rough / rough.std(), -_MOST, _MOST) / (2.0 * _MOST) + 0.5
    size = (reach, reach, 2.0 * _MOST * height_m, cell)
    spec.add_hfield(name="bumps", nrow=count, ncol=count, size=size, userdata=heights.ravel())
    depth = -_MOST * height_m
    spec.geom("ground").pos = (0.0, 0.0, depth)
    spec.worldbody.add_geom(name="bumps", type=mujoco.mjtGeom.mjGEOM_HFIELD, hfieldname="bumps",
                            pos=(0.0, 0.0, depth), contype=1, conaffinity=0)  # fmt: skip


def _mjcf(robot: Ground, physics_dt_s: float) -> str:
    length, width, height = robot.description.size_m
    bottom = _CLEARANCE * robot.wheel_radius_m
    top = max(height, 2.0 * bottom)
    mass, place, moments = _body(robot)
    wheels = "".join(_wheel(robot, index) for index in range(len(robot.track.positions)))
    return f"""<mujoco model="{robot.name}">
  <compiler angle="radian"/>
  <option gravity="0 0 {-GRAVITY_M_S2}" timestep="{physics_dt_s:.9g}" cone="elliptic" impratio="{_IMPRATIO}"/>
  <worldbody>
    <geom name="ground" type="plane" size="0 0 1" contype="1" conaffinity="0"/>
    <body name="{robot.base_frame}">
      <freejoint/>
      <inertial pos="{_row(place)}" mass="{mass:.9g}" diaginertia="{_row(moments)}"/>
      <geom name="body" type="box" pos="0 0 {0.5 * (bottom + top):.9g}" contype="0" conaffinity="1"
            size="{_row([0.5 * length, 0.5 * width, 0.5 * (top - bottom)])}"/>{wheels}
    </body>
  </worldbody>
</mujoco>
"""


def _wheel(robot: Ground, index: int) -> str:
    (x, y), radius = robot.track.positions[index], robot.wheel_radius_m
    inertia = robot.description.wheel_inertia_kg_m2
    moments = _row([_ACROSS * inertia, inertia, _ACROSS * inertia])
    return f"""
      <body name="{wheel_name(index)}" pos="{x:.9g} {y:.9g} {radius:.9g}">
        <joint type="hinge" axis="0 1 0"/>
        <inertial pos="0 0 0" mass="{_wheel_mass(robot):.9g}" diaginertia="{moments}"/>
        <geom type="ellipsoid" size="{_row([radius, 0.5 * _WIDTH * radius, radius])}" contype="0" conaffinity="0"
              name="{tyre_name(index)}"/>
      </body>"""


def _wheel_mass(robot: Ground) -> float:
    disc = 2.0 * robot.description.wheel_inertia_kg_m2 / robot.wheel_radius_m**2
    squares = float(np.sum(robot.track.positions**2))
    most = (_WHEELS_MASS * robot.mass_kg / len(robot.track.positions), _WHEELS_INERTIA * robot.yaw_inertia / squares)
    return min(disc, *most)


def _body(robot: Ground) -> tuple[float, Array, Array]:
    """Mass, place (3,) and moments of inertia (3,) of the body, which with the wheels are those of the vehicle."""
    places, wheel = robot.track.positions, _wheel_mass(robot)
    mass = robot.mass_kg - wheel * len(places)
    height = (robot.mass_kg * robot.com_height - wheel * len(places) * robot.wheel_radius_m) / mass
    centre = -wheel * places.sum(0) / mass
    turning = len(places) * _ACROSS * robot.description.wheel_inertia_kg_m2
    yaw = robot.yaw_inertia - turning - wheel * float(np.sum(places**2)) - mass * float(centre @ centre)
    yaw = max(yaw, 0.1 * robot.yaw_inertia)
    length, width, tall = np.square(robot.description.size_m)
    moments = yaw * np.array([width + tall, length + tall, length + width]) / (length + width)
    return mass, np.array([*centre, height]), moments


def _row(numbers: Array | list[float]) -> str:
    return " ".join(f"{number:.9g}" for number in numbers)
