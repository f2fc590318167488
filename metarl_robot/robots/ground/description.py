# SPDX-License-Identifier: Apache-2.0
"""Description of a ground vehicle: properties and limits from `robot.yaml`, and the MJCF generated from them.

World frame ENU, body frame FLU at the centre of mass, projected on the ground. q = (x, y [m; world], yaw [rad]), v =
q̇. The yaw is continuous; measured ones may be wrapped (safety/sample_check.py).

A command has one entry for each channel. A vehicle with a steered axle has `steering`, the angle of its steered wheels
[rad], and `drive`, the torque of all driven wheels together [Nm]. A vehicle with skid steering has `left` and `right`,
the torque of the wheels on each side [Nm].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from metarl_robot.core.coordinates import Coordinates
from metarl_robot.core.quantities import Report
from metarl_robot.core.robot import Robot, RobotFile
from metarl_robot.core.validation import Label, between, check_unique
from metarl_robot.core.wording import Wording
from metarl_robot.robots.ground.terrain_report import LoadReport, TerrainReport

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]
Place = Annotated[float, between(-10.0, 10.0)]
Length = Annotated[float, between(1e-3, 10.0)]

GRAVITY_M_S2 = 9.81
LEAST_INERTIA = 0.05
"""Least yaw inertia over that of a uniform box."""


class Wheel(BaseModel):
    """One wheel: position_m is its contact patch (x, y) in the body frame."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Label
    position_m: tuple[Place, Place]
    steered: bool = False
    driven: bool = True


class Steering(BaseModel):
    """The steered axle: its range [rad], rate [rad/s] and first-order lag [s]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit_rad: Annotated[float, between(0.05, 1.4)]
    rate_rad_s: Annotated[float, between(0.05, 50.0)]
    lag_s: Annotated[float, between(1e-3, 1.0)]


class Drive(BaseModel):
    """The motors: torque at the wheels of one channel [Nm], its rate [Nm/s] and first-order lag [s]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    torque_nm: Annotated[float, between(1e-3, 1e5)]
    rate_nm_s: Annotated[float, between(1e-2, 1e7)]
    lag_s: Annotated[float, between(1e-3, 1.0)]


class Tyre(BaseModel):
    """A tyre (tyre.py): stiffness per unit load of side slip [1/rad] and of longitudinal slip, friction, rolling.

    A pair of values holds for wheels ahead of the centre of mass and behind it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    friction: Annotated[float, between(0.05, 3.0)]
    cornering_stiffness: tuple[Annotated[float, between(0.5, 100.0)], Annotated[float, between(0.5, 100.0)]]
    slip_stiffness: Annotated[float, between(0.5, 100.0)]
    rolling_resistance: Annotated[float, between(0.0, 0.5)]


class GroundFile(RobotFile):
    """Keys of a ground vehicle's `robot.yaml`. Without `steering` it is a skid-steered vehicle."""

    world_frame: Label = "odom"
    mass_kg: Annotated[float, between(0.05, 1e5)]
    yaw_inertia_kg_m2: Annotated[float, between(1e-5, 1e7)]
    com_height_m: Annotated[float, between(0.0, 5.0)]
    wheels: Annotated[tuple[Wheel, ...], Field(min_length=3, max_length=12)]
    wheel_radius_m: Length
    wheel_inertia_kg_m2: Annotated[float, between(1e-8, 1e4)]
    steering: Steering | None = None
    drive: Drive
    tyre: Tyre
    speed_limit_m_s: Annotated[float, between(0.05, 100.0)]
    yaw_rate_limit_rad_s: Annotated[float, between(0.05, 50.0)]
    size_m: tuple[Length, Length, Length]

    @field_validator("wheels")
    @classmethod
    def _can_stand(cls, wheels: tuple[Wheel, ...]) -> tuple[Wheel, ...]:
        check_unique(wheel.name for wheel in wheels)
        places = np.array([(1.0, *wheel.position_m) for wheel in wheels])
        if np.linalg.matrix_rank(places, tol=1e-6) < 3:
            raise ValueError("the wheels are in one line; a vehicle needs three that are not")
        if np.min(np.linalg.pinv(places.T)[:, 0]) <= 0.0:
            raise ValueError("the centre of mass, at (0, 0), is not between the wheels: one of them carries no load")
        return wheels

    @model_validator(mode="after")
    def _can_be_driven(self) -> GroundFile:
        if not any(wheel.driven for wheel in self.wheels):
            raise ValueError("wheels: none is driven")
        steered = any(wheel.steered for wheel in self.wheels)
        if steered != (self.steering is not None):
            raise ValueError("steering: must be given if a wheel is steered, and only then")
        sides = {math.copysign(1.0, wheel.position_m[1]) for wheel in self.wheels if wheel.driven}
        if not steered and len(sides) < 2:
            raise ValueError("wheels: without steering, driven wheels are needed on both sides")
        return self

    @model_validator(mode="after")
    def _can_have_its_inertia(self) -> GroundFile:
        """Mass within the size: at most all of it at the corners. Less than a twentieth of a box's is a wrong unit."""
        length, width, _ = self.size_m
        most = 0.25 * self.mass_kg * (length**2 + width**2)
        if not LEAST_INERTIA * most / 3.0 <= self.yaw_inertia_kg_m2 <= most:
            raise ValueError(
                f"yaw_inertia_kg_m2: {self.yaw_inertia_kg_m2:g} cannot be that of {self.mass_kg:g} kg within size_m; "
                f"a uniform box has {most / 3.0:.4g}, allowed: [{LEAST_INERTIA * most / 3.0:.4g}, {most:.4g}]"
            )
        return self


class Track(NamedTuple):
    """Wheels, or axles that count as one wheel: positions (w, 2) [m; body] of their contact patches.

    steered: (w,) whether it is steered. torque_share: (w, nu) share of a channel's torque at each; 0 for steering.
    cornering_stiffness: (w,) per unit load [1/rad].
    """

    positions: Array
    steered: NDArray[np.bool_]
    torque_share: Array
    cornering_stiffness: Array

    @property
    def load_share(self) -> Array:
        """Matrix (w, 3): loads by weight [N] and by its moments x W, y W [Nm], of a rigid plate on equal springs.

        For wheels in one line, the load across it is not determined; the smallest solution is used.
        """
        places = np.column_stack([np.ones(len(self.positions)), self.positions])
        return np.asarray(np.linalg.pinv(places.T))

    @property
    def single(self) -> Track:
        """Single-track model: one wheel in the middle for wheels side by side that get the same torque."""
        keys = [(float(place[0]), bool(steered), *share) for place, steered, share in
                zip(self.positions, self.steered, np.round(self.torque_share, 9), strict=True)]  # fmt: skip
        groups = [[i for i, key in enumerate(keys) if key == kind] for kind in dict.fromkeys(keys)]
        first = [group[0] for group in groups]
        places = np.array([self.positions[group].mean(0) for group in groups])
        shares = np.array([self.torque_share[group].sum(0) for group in groups])
        return Track(places, self.steered[first], shares, self.cornering_stiffness[first])


class Ground(Robot):
    """A ground vehicle.

    Attributes, besides Robot's:
        mass_kg; yaw_inertia [kg m²]; com_height [m].
        rolling_mass_kg: inertia of the wheels, as a mass that only moves along the vehicle.
        track: its wheels; single_track: its axles, for the nominal model.
        friction, slip_stiffness, rolling: of its tyres.
        lag_s: (nu,) first-order lag of each channel.
    """

    file = GroundFile
    kind = "ground"
    interface = "metarl_robot.ros_nodes.ground.interface:GroundInterface"
    flat_outputs = "metarl_robot.robots.ground.flat_outputs:GroundOutputs"
    fallback_law = "metarl_robot.robots.ground.fallback:BrakeStraight"
    simulation = "metarl_robot.sim.ground.simulation:GroundSimulation"
    dynamics = "metarl_robot.robots.ground.dynamics:GroundDynamics"
    filter_tuning = "metarl_robot.robots.ground.filter_tuning:filter_tuning"
    features: ClassVar[Mapping[str, str]] = {
        "surface": "metarl_robot.robots.ground.features.parameters:SURFACE_SPEC",
        "load": "metarl_robot.robots.ground.features.parameters:LOAD_SPEC",
        "slope": "metarl_robot.robots.ground.features.parameters:SLOPE_SPEC",
        "learned": "metarl_robot.robots.ground.features.learned:SPEC",
        "actuators": "metarl_robot.robots.ground.features.parameters:ACTUATORS_SPEC",
    }
    adapters: ClassVar[Mapping[str, str]] = {
        "disturbance_observer": "metarl_robot.robots.ground.adapters:DISTURBANCE_OBSERVER",
        "last_layer": "metarl_robot.robots.ground.adapters:LAST_LAYER",
    }
    controllers: ClassVar[Mapping[str, str]] = {
        "nominal_mpc": "metarl_robot.robots.ground.controllers:NOMINAL",
        "offset_free_mpc": "metarl_robot.robots.ground.controllers:OFFSET_FREE",
        "meta_mpc": "metarl_robot.robots.ground.controllers:META",
        "oracle_mpc": "metarl_robot.robots.ground.controllers:ORACLE",
        "mppi": "metarl_robot.robots.ground.controllers:MPPI",
        "pure_pursuit": "metarl_robot.robots.ground.pure_pursuit:SPEC",
        "stanley": "metarl_robot.robots.ground.stanley:SPEC",
    }
    wording = Wording(body="vehicle", tracked="vehicle", error="position", effort="command", angles="heading")

    def __init__(self, description: GroundFile, folder: Path) -> None:
        super().__init__(description, folder)
        steering, drive, tyre = description.steering, description.drive, description.tyre
        self.channel_names = ("left", "right") if steering is None else ("steering", "drive")
        units = ("torque_nm", "torque_nm") if steering is None else ("angle_rad", "torque_nm")
        efforts = tuple(f"{name}/{unit}" for name, unit in zip(self.channel_names, units, strict=True))
        self.coordinates = Coordinates(
            ("position_x_m", "position_y_m", "yaw_rad"), ("velocity_x_m_s", "velocity_y_m_s", "rate_z_rad_s"), efforts
        )
        self.world_frame = description.world_frame
        self.nq = self.dof = 3
        self.mass_kg, self.yaw_inertia = description.mass_kg, description.yaw_inertia_kg_m2
        self.com_height, self.wheel_radius_m = description.com_height_m, description.wheel_radius_m
        wheels_inertia = len(description.wheels) * description.wheel_inertia_kg_m2
        self.rolling_mass_kg = wheels_inertia / description.wheel_radius_m**2
        front, rear = tyre.cornering_stiffness
        self.friction, self.slip_stiffness, self.rolling = tyre.friction, tyre.slip_stiffness, tyre.rolling_resistance
        places = np.array([wheel.position_m for wheel in description.wheels])
        self.track = Track(
            places,
            np.array([wheel.steered for wheel in description.wheels]),
            _torque_shares(description),
            np.where(places[:, 0] > 0.0, front, rear),
        )
        self.single_track = self.track.single
        limits = [drive.torque_nm, drive.torque_nm] if steering is None else [steering.limit_rad, drive.torque_nm]
        rates = [drive.rate_nm_s, drive.rate_nm_s] if steering is None else [steering.rate_rad_s, drive.rate_nm_s]
        lags = [drive.lag_s, drive.lag_s] if steering is None else [steering.lag_s, drive.lag_s]
        self.effort_limit, self.effort_rate_limit, self.lag_s = np.array(limits), np.array(rates), np.array(lags)
        self.effort_lower = -self.effort_limit
        self.velocity_limit = np.array([*(description.speed_limit_m_s,) * 2, description.yaw_rate_limit_rad_s])
        self.position_lower, self.position_upper = np.full(3, -np.inf), np.full(3, np.inf)
        self.home = np.zeros(3)

    @property
    def families(self) -> Mapping[str, str]:  # type: ignore[override]
        return {"drive": "metarl_robot.sim.ground.drive:DriveFamily"} if self.is_steered else {}

    @property
    def is_steered(self) -> bool:
        """Whether it has a steered axle; otherwise it is skid-steered."""
        return bool(self.track.steered.any())

    @property
    def wrapped(self) -> NDArray[np.bool_]:
        return np.array([False, False, True])

    @property
    def reports(self) -> tuple[Report, ...]:
        return TerrainReport(self.friction, self.rolling), LoadReport()

    @property
    def torque_channels(self) -> NDArray[np.bool_]:
        """Whether each channel (nu,) is a torque."""
        return np.array([name != "steering" for name in self.channel_names])

    @property
    def wheelbase_m(self) -> float:
        """Distance from the rear axle to the steered one; for a skid-steered vehicle, between its outer axles."""
        x, steered = self.track.positions[:, 0], self.track.steered
        return float((x[steered] if self.is_steered else x).max() - x[~steered].min())

    @property
    def track_m(self) -> float:
        """Distance between left and right wheels."""
        return float(np.ptp(self.track.positions[:, 1]))

    def mj_spec(self) -> mujoco.MjSpec:
        import mujoco

        return mujoco.MjSpec.from_string(self.mjcf())

    def mjcf(self) -> str:
        """The MJCF of the nominal robot: a body that slides and turns on a plane. Tyres act as applied forces."""
        half = " ".join(f"{0.5 * size:.9g}" for size in self.description.size_m)
        return f"""<mujoco model="{self.name}">
  <compiler angle="radian"/>
  <option gravity="0 0 {-GRAVITY_M_S2}" timestep="0.001"/>
  <worldbody>
    <geom name="ground" type="plane" size="0 0 1" contype="0" conaffinity="0"/>
    <body name="{self.base_frame}" pos="0 0 {self.com_height:.9g}">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <joint name="yaw" type="hinge" axis="0 0 1"/>
      <inertial pos="0 0 0" mass="{self.mass_kg:.9g}" diaginertia="{self._moments()}"/>
      <geom name="body" type="box" size="{half}" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
</mujoco>
"""

    def _moments(self) -> str:
        """Principal moments; only the one about z is known and has an effect."""
        return " ".join([f"{self.yaw_inertia:.9g}"] * 3)


def _torque_shares(description: GroundFile) -> Array:
    """Share (w, nu) of each channel's torque at each wheel."""
    wheels = description.wheels
    driven = np.array([wheel.driven for wheel in wheels])
    left = np.array([wheel.position_m[1] > 0.0 for wheel in wheels])
    if description.steering is not None:
        return np.column_stack([np.zeros(len(wheels)), driven / driven.sum()])
    sides = (driven & left, driven & ~left)
    return np.column_stack([side / side.sum() for side in sides])
