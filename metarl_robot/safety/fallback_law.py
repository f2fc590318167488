# SPDX-License-Identifier: Apache-2.0
"""What the gate does when nobody else commands, by kind of robot: the law that stops it, and the law's numbers.

A kind names its law (`Robot.gate_law`): an arm brakes and holds, a quadrotor levels, descends and stops its motors
(robots/<kind>/fallback.py). A law has no model but what robot.yaml says, and imports nothing but numpy: it
lives in the gate's process.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import State

Array = NDArray[np.float64]


class GateError(MetaRLError):
    """The gate's configuration does not fit the robot, or a request was refused; the message says what is missing."""


class GateConfig(BaseModel):
    """The gate's numbers for every kind of robot; a kind's law adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command_timeout_s: float = Field(
        0.04, ge=0.002, le=1.0, description="without a command for this long, stop the robot [s]"
    )
    state_timeout_s: float = Field(
        0.04, ge=0.002, le=1.0, description="without a good state for this long, the gate is blind [s]"
    )
    future_tolerance_s: float = Field(
        0.05, ge=0.0, le=1.0, description="a command stamped further ahead of the state is refused [s]"
    )
    auto_resume_s: float = Field(
        0.5, ge=0.0, le=60.0, description="how long a stop, or a series of stops, may heal by itself; 0: never [s]"
    )
    arm_at_start: bool = Field(
        True, description="pass the first good command; false: wait for the re-arm service first"
    )
    overspeed_ratio: float = Field(
        1.5, ge=1.0, le=10.0, description="stop and latch above this multiple of a velocity limit"
    )
    feed_forward_time_s: float = Field(
        0.05, ge=0.001, le=10.0, description="low pass of the effort that holds the robot [s]"
    )
    saturation_share: float = Field(
        0.96,
        ge=0.1,
        le=1.0,
        description="an effort beyond this share of the way from the middle of its range to an end is at the limit",
    )
    saturation_s: float = Field(
        1.0, ge=0.05, le=60.0, description="warn when commands were at a limit for most of this long [s]"
    )


@dataclass(frozen=True)
class Inertial:
    """A measurement of an IMU: specific force (3,) [m/s^2; body], rate (3,) [rad/s; body], and attitude (4,) [wxyz;
    body to any
    frame whose z is up], None where it tells none."""

    specific_force: Array
    rate: Array
    attitude: Array | None = None


class Danger(NamedTuple):
    """Why a robot must be stopped, and latched, whatever is commanded. cause: a word for counting; reason: with
    numbers.
    """

    cause: str
    reason: str


class GateLaw(Protocol):
    """One robot's way to stop.

    Made once with the gate; `begin` is called whenever a stop begins, `effort` at each tick of it.
    """

    config: ClassVar[type[GateConfig]]

    def __init__(self, robot: Any, config: Any) -> None: ...

    def configure(self, config: Any) -> None:
        """Take new numbers; a stop in progress may go on with the old ones.

        Raises GateError when they do not fit the robot.
        """
        ...

    @property
    def start_effort(self) -> Array | None:
        """(nu,) what the first command may differ from by the effort rate; None: it may be anything within limits."""
        ...

    @property
    def off(self) -> bool:
        """Whether the stop has ended with the actuators switched off: then zeros are sent, at once, whatever the limits
        say.
        """
        ...

    @property
    def static_effort(self) -> Array:
        """(nu,) what holds the robot without feedback, as far as is known."""
        ...

    def passed(self, effort: Array, state: State | None, dt_s: float) -> None:
        """A controller's effort was sent, `dt_s` after the one before: what it says of what holds the robot is taken
        in.
        """
        ...

    def begin(self, state: State) -> None:
        """A stop begins with this state, or goes on with it after a time without any."""
        ...

    def effort(self, state: State, dt_s: float) -> Array:
        """(nu,), not yet clipped; `dt_s` since the last call."""
        ...

    def blind_effort(self, inertial: Inertial | None, dt_s: float) -> Array:
        """(nu,) when there is no usable state: from an IMU if there is one."""
        ...

    def at_rest(self, state: State) -> bool:
        """Whether the stop is over and the robot stands."""
        ...

    def release(self) -> None:
        """The stop is over: commands pass again."""
        ...

    def danger(self, state: State) -> Danger | None:
        """Whether this state calls for a stop by itself."""
        ...


def law_of(robot: Robot) -> type[GateLaw]:
    """The law of the robot's kind."""
    module, name = robot.gate_law.split(":")
    law: type[GateLaw] = getattr(import_module(module), name)
    return law


def gate_config(robot: Robot) -> type[GateConfig]:
    """The numbers that the gate of such a robot has."""
    return law_of(robot).config


def low_pass(dt_s: float, time_s: float) -> float:
    """Weight of a new sample in a first-order low pass."""
    return float(-np.expm1(-dt_s / time_s))
