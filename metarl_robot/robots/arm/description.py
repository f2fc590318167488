# SPDX-License-Identifier: Apache-2.0
"""Description of an arm: `robot.yaml` beside `robot.xml` (MJCF).

The YAML holds the limits of the joints, which are not in the MJCF.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from metarl_robot.core.coordinates import Coordinates
from metarl_robot.core.mjcf_robot import MjcfRobot, MjcfRobotFile
from metarl_robot.core.validation import Label, between, check_unique
from metarl_robot.core.wording import Wording
from metarl_robot.robots.payload import RATED_PAYLOAD, Payload, check_payload_site

_FULL_TURN_RAD = 2.0 * math.pi
MOST_JOINTS = 64


class JointLimits(BaseModel):
    """One controlled joint. Revolute joints: rad, rad/s, Nm, Nm/s."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Label
    position_rad: tuple[float, float]
    velocity_rad_s: Annotated[float, between(1e-3, 1e3)]
    effort_nm: Annotated[float, between(1e-3, 1e5)]
    effort_rate_nm_s: Annotated[float, between(1e-2, 1e7)]
    home_rad: float

    @field_validator("position_rad")
    @classmethod
    def _ordered_and_in_radians(cls, limits: tuple[float, float]) -> tuple[float, float]:
        lower, upper = limits
        if not (-2 * _FULL_TURN_RAD <= lower < upper <= 2 * _FULL_TURN_RAD):
            raise ValueError(
                f"must be [lower, upper] in rad with lower < upper, within ±4π; is {list(limits)} in degrees?"
            )
        return limits

    @model_validator(mode="after")
    def _home_within_limits(self) -> JointLimits:
        lower, upper = self.position_rad
        if not lower <= self.home_rad <= upper:
            raise ValueError(f"home_rad {self.home_rad} must lie within position_rad [{lower}, {upper}]")
        return self


class ArmFile(MjcfRobotFile):
    """The contents of an arm's `robot.yaml`."""

    payload: Payload
    joints: Annotated[tuple[JointLimits, ...], Field(min_length=1, max_length=MOST_JOINTS)]

    @field_validator("joints")
    @classmethod
    def _named_once(cls, joints: tuple[JointLimits, ...]) -> tuple[JointLimits, ...]:
        check_unique(joint.name for joint in joints)
        return joints


class Arm(MjcfRobot):
    """A serial arm; its channels are its joints."""

    file = ArmFile
    kind = "arm"
    interface = "metarl_robot.ros_nodes.arm.interface:JointInterface"
    drivers_may_add_gravity = True
    flat_outputs = "metarl_robot.trajectories.euclidean_outputs:EuclideanOutputs"
    fallback_law = "metarl_robot.safety.stop_and_hold:StopAndHold"
    simulation = "metarl_robot.sim.arm.simulation:ArmSimulation"
    dynamics = "metarl_robot.robots.arm.dynamics:ArmDynamics"
    filter_tuning = "metarl_robot.adaptation.euclidean_tuning:filter_tuning"
    features: ClassVar[Mapping[str, str]] = {
        "payload": "metarl_robot.robots.arm.features.payload:SPEC",
        "friction": "metarl_robot.robots.arm.features.friction:SPEC",
        "motor": "metarl_robot.robots.arm.features.motor:SPEC",
        "armature": "metarl_robot.robots.arm.features.armature:SPEC",
        "latency": "metarl_robot.robots.arm.features.latency:SPEC",
        "learned": "metarl_robot.robots.arm.features.learned:SPEC",
    }
    adapters: ClassVar[Mapping[str, str]] = {"maml": "metarl_robot.robots.arm.maml_inputs:MAML"}
    reported = ("metarl_robot.robots.payload:PAYLOAD",)
    controllers: ClassVar[Mapping[str, str]] = {
        "pid": "metarl_robot.robots.arm.pid:SPEC",
        "computed_torque": "metarl_robot.robots.arm.computed_torque:SPEC",
        "nominal_mpc": "metarl_robot.robots.arm.controllers:NOMINAL",
        "offset_free_mpc": "metarl_robot.robots.arm.controllers:OFFSET_FREE",
        "meta_mpc": "metarl_robot.robots.arm.controllers:META",
        "oracle_mpc": "metarl_robot.robots.arm.controllers:ORACLE",
    }

    def __init__(self, description: ArmFile, folder: Path) -> None:
        super().__init__(description, folder)
        joints = description.joints
        self.ratings = ((RATED_PAYLOAD, description.payload.rated_mass_kg),)
        self.channel_names = tuple(joint.name for joint in joints)
        units = ("position_rad", "velocity_rad_s", "effort_nm")
        self.coordinates = Coordinates(*(tuple(f"{name}/{unit}" for name in self.channel_names) for unit in units))
        names = self.channel_names
        self.wording = Wording("arm", "end effector", "end-effector", "joint", "effort", "Nm", "joint", names)
        self.nq = self.dof = len(joints)
        self.network_inputs = 3 * self.dof
        self.position_lower = np.array([j.position_rad[0] for j in joints])
        self.position_upper = np.array([j.position_rad[1] for j in joints])
        self.velocity_limit = np.array([j.velocity_rad_s for j in joints])
        self.effort_limit = np.array([j.effort_nm for j in joints])
        self.effort_lower = -self.effort_limit
        self.effort_rate_limit = np.array([j.effort_rate_nm_s for j in joints])
        self.home = np.array([j.home_rad for j in joints])

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The channel names."""
        return self.channel_names

    def check_model(self) -> None:
        super().check_model()
        check_payload_site(self)
