# SPDX-License-Identifier: Apache-2.0
"""Description of an arm: `robot.yaml` beside `robot.xml` (MJCF).

The YAML holds the limits of the joints, which are not in the MJCF.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, field_validator, model_validator

from metarl_robot.core.coordinates import Coordinates
from metarl_robot.core.errors import RobotError
from metarl_robot.core.mjcf_robot import MjcfRobot, MjcfRobotFile
from metarl_robot.core.validation import Label, between, check_unique, choice
from metarl_robot.core.wording import Wording
from metarl_robot.robots.payload import RATED_PAYLOAD, Payload, check_payload_site

_FULL_TURN_RAD = 2.0 * math.pi
MOST_JOINTS = 64


class JointLimits(BaseModel):
    """One controlled revolute joint: rad, rad/s, Nm, Nm/s.

    endless: it turns without end, and its driver may give angles within (-π, π].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Label
    position_rad: tuple[float, float]
    velocity_rad_s: Annotated[float, between(1e-3, 1e3)]
    effort_nm: Annotated[float, between(1e-3, 1e5)]
    effort_rate_nm_s: Annotated[float, between(1e-2, 1e7)]
    home_rad: float
    endless: bool = False

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

    @property
    def units(self) -> tuple[str, str, str]:
        """Endings of the names of position, velocity and effort."""
        return "position_rad", "velocity_rad_s", "effort_nm"

    @property
    def limits(self) -> tuple[float, float, float, float, float, float]:
        """Lower and upper position, velocity, effort, effort rate, home."""
        return (*self.position_rad, self.velocity_rad_s, self.effort_nm, self.effort_rate_nm_s, self.home_rad)


class SlideLimits(BaseModel):
    """One controlled prismatic joint: m, m/s, N, N/s."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Label
    position_m: tuple[Annotated[float, between(-100.0, 100.0)], Annotated[float, between(-100.0, 100.0)]]
    velocity_m_s: Annotated[float, between(1e-4, 1e3)]
    effort_n: Annotated[float, between(1e-3, 1e6)]
    effort_rate_n_s: Annotated[float, between(1e-2, 1e8)]
    home_m: float

    @model_validator(mode="after")
    def _ordered_with_home_within(self) -> SlideLimits:
        lower, upper = self.position_m
        if not lower < upper or not lower <= self.home_m <= upper:
            said = "position_m must be [lower, upper] in m with lower < upper, and home_m within"
            raise ValueError(f"{said}; given: [{lower}, {upper}], {self.home_m}")
        return self

    @property
    def units(self) -> tuple[str, str, str]:
        """Endings of the names of position, velocity and effort."""
        return "position_m", "velocity_m_s", "effort_n"

    @property
    def limits(self) -> tuple[float, float, float, float, float, float]:
        """Lower and upper position, velocity, effort, effort rate, home."""
        return (*self.position_m, self.velocity_m_s, self.effort_n, self.effort_rate_n_s, self.home_m)


_TURN, _SLIDE = choice(JointLimits), choice(SlideLimits)


def _kind_of(joint: Any) -> str:
    """The model of a joint in a robot.yaml: by the unit of its position."""
    is_slide = isinstance(joint, SlideLimits) or (isinstance(joint, dict) and "position_m" in joint)
    return _SLIDE.tag if is_slide else _TURN.tag


AnyJoint = Annotated[Annotated[JointLimits, _TURN] | Annotated[SlideLimits, _SLIDE], Discriminator(_kind_of)]


class ArmFile(MjcfRobotFile):
    """The contents of an arm's `robot.yaml`."""

    payload: Payload
    joints: Annotated[tuple[AnyJoint, ...], Field(min_length=1, max_length=MOST_JOINTS)]

    @field_validator("joints")
    @classmethod
    def _named_once(cls, joints: tuple[AnyJoint, ...]) -> tuple[AnyJoint, ...]:
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
    adapters: ClassVar[Mapping[str, str]] = {
        "maml": "metarl_robot.robots.arm.maml_inputs:MAML",
        "regression": "metarl_robot.adaptation.factory:REGRESSION",
    }
    families: ClassVar[Mapping[str, str]] = {"reach": "metarl_robot.sim.arm.reach:ReachFamily"}
    reported = ("metarl_robot.robots.payload:PAYLOAD",)
    from_file = "metarl_robot.robots.arm.from_file.convert:convert"
    checker = "metarl_robot.sim.arm.robot_check:check_arm"
    controllers: ClassVar[Mapping[str, str]] = {
        "pid": "metarl_robot.robots.arm.pid:SPEC",
        "computed_torque": "metarl_robot.robots.arm.computed_torque:SPEC",
        "nominal_mpc": "metarl_robot.robots.arm.controllers:NOMINAL",
        "offset_free_mpc": "metarl_robot.robots.arm.controllers:OFFSET_FREE",
        "meta_mpc": "metarl_robot.robots.arm.controllers:META",
        "meta_policy": "metarl_robot.robots.arm.meta_policy:SPEC",
        "oracle_mpc": "metarl_robot.robots.arm.controllers:ORACLE",
    }

    def __init__(self, description: ArmFile, folder: Path) -> None:
        super().__init__(description, folder)
        joints = description.joints
        self.ratings = ((RATED_PAYLOAD, description.payload.rated_mass_kg),)
        self.channel_names = tuple(joint.name for joint in joints)
        self.coordinates = Coordinates(*(tuple(f"{j.name}/{j.units[k]}" for j in joints) for k in range(3)))
        names = self.channel_names
        self.wording = Wording("arm", "end effector", "end-effector", "joint", "effort", "Nm", "joint", names)
        self.nq = self.dof = len(joints)
        self.network_inputs = 3 * self.dof
        endless = np.array([isinstance(joint, JointLimits) and joint.endless for joint in joints], dtype=bool)
        self.endless = endless if endless.any() else None
        limits = np.ascontiguousarray(np.array([joint.limits for joint in joints]).T)
        self.position_lower, self.position_upper, self.velocity_limit, self.effort_limit = limits[:4]
        self.effort_lower, (self.effort_rate_limit, self.home) = -self.effort_limit, limits[4:]

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The channel names."""
        return self.channel_names

    def check_model(self) -> None:
        super().check_model()
        check_payload_site(self)
        self._check_joints()

    def _check_joints(self) -> None:
        """Check that each joint has a body of its own, and the units of its type."""
        import mujoco

        for body in range(self.mj_model.nbody):
            count = int(self.mj_model.body_jntnum[body])
            if count > 1:
                said = f"body '{self.mj_model.body(body).name}': has {count} joints; give each joint its own body"
                raise RobotError(f"{self.model_path}: {said}, or convert the file with metarl robot new")
        for i, joint in enumerate(self.description.joints):
            slides = int(self.mj_model.jnt_type[i]) == int(mujoco.mjtJoint.mjJNT_SLIDE)
            if slides != isinstance(joint, SlideLimits):
                said = "is a slide: give position_m, velocity_m_s …" if slides else "is a hinge: give position_rad …"
                raise RobotError(f"{self.folder / 'robot.yaml'}: joints: '{joint.name}' {said}")
