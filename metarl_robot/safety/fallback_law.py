# SPDX-License-Identifier: Apache-2.0
"""Fallback laws: how the gate stops a robot without a controller, and their parameters.

A kind names its law (`Robot.fallback_law`). Joints stop and hold (stop_and_hold.py); a quadrotor levels, descends and
stops its motors. A law runs in the gate's process. It has no model beyond robot.yaml and imports only
numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Inertial, State

Array = NDArray[np.float64]


class GateError(MetaRLError):
    """The gate's configuration does not fit the robot, or a request was refused; the message gives the reason."""


class GateConfig(BaseModel):
    """The gate's parameters for every kind of robot; a kind's law adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command_timeout_s: float = Field(
        0.04, ge=0.002, le=1.0, description="stop the robot after this long without a command [s]"
    )
    state_timeout_s: float = Field(
        0.04, ge=0.002, le=1.0, description="the gate is blind after this long without a good state [s]"
    )
    future_tolerance_s: float = Field(
        0.05, ge=0.0, le=1.0, description="a command stamped further ahead of the state is refused [s]"
    )
    auto_resume_s: float = Field(
        0.5,
        ge=0.0,
        le=60.0,
        description="time after the first of a series of stops in which commands may pass again; 0: never [s]",
    )
    arm_at_start: bool = Field(
        True, description="pass the first good command; false: wait for the re-arm service first"
    )
    overspeed_ratio: float = Field(
        1.5, ge=1.0, le=10.0, description="stop and latch above this multiple of a velocity limit"
    )
    limit_scale: float = Field(
        1.0,
        ge=0.05,
        le=1.0,
        description="first tests: share of effort, effort rate and velocity limits that commands may use",
    )
    feed_forward_time_s: float = Field(
        0.05, ge=0.001, le=10.0, description="low pass of the effort that holds the robot [s]"
    )
    saturation_share: float = Field(
        0.96,
        ge=0.1,
        le=1.0,
        description="an effort is at the limit beyond this share of the way from the middle to an end of its range",
    )
    saturation_s: float = Field(
        1.0, ge=0.05, le=60.0, description="warn if commands were at a limit for most of this time [s]"
    )


class Danger(NamedTuple):
    """Reason to stop and latch, independent of the command.

    cause: a word for counting; reason: a text with numbers.
    """

    cause: str
    reason: str


class GateLaw(Protocol):
    """The fallback law of one robot.

    The gate makes it once. It calls `begin` when a stop begins and `effort` at each tick of the stop.
    """

    config: ClassVar[type[GateConfig]]

    def __init__(self, robot: Any, config: Any) -> None: ...

    def configure(self, config: Any) -> None:
        """Change the parameters; a stop in progress may continue with the old ones.

        Raises GateError if they do not fit the robot.
        """
        ...

    @property
    def start_effort(self) -> Array | None:
        """Effort from which the first command is rate-limited, (nu,); None: no rate limit."""
        ...

    @property
    def off(self) -> bool:
        """Whether the stop ended with the actuators off: zeros are then sent at once, regardless of the limits."""
        ...

    @property
    def static_effort(self) -> Array:
        """Best known effort that holds the robot without feedback, (nu,)."""
        ...

    def passed(self, effort: Array, state: State | None, dt_s: float) -> None:
        """Update the holding effort from a controller's effort that was sent `dt_s` after the previous one."""
        ...

    def begin(self, state: State) -> None:
        """Begin a stop in this state, or continue it after a time without states."""
        ...

    def effort(self, state: State, dt_s: float) -> Array:
        """Effort (nu,), not yet clipped; `dt_s` since the last call."""
        ...

    def blind_effort(self, inertial: Inertial | None, dt_s: float) -> Array:
        """Effort (nu,) without a usable state, from IMU measurements if there are any."""
        ...

    def at_rest(self, state: State) -> bool:
        """Whether the stop is over and the robot is at rest."""
        ...

    def release(self) -> None:
        """End the stop: commands pass again."""
        ...

    def danger(self, state: State) -> Danger | None:
        """Reason to stop in this state; None if there is none."""
        ...


def law_of(robot: Robot) -> type[GateLaw]:
    """Fallback law of the robot's kind."""
    module, name = robot.fallback_law.split(":")
    law: type[GateLaw] = getattr(import_module(module), name)
    return law


def gate_config(robot: Robot) -> type[GateConfig]:
    """Configuration class of the robot's gate."""
    return law_of(robot).config


def low_pass(dt_s: float, time_s: float) -> float:
    """Weight of a new sample in a first-order low pass."""
    return float(-np.expm1(-dt_s / time_s))
