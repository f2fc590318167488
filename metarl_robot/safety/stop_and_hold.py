# SPDX-License-Identifier: Apache-2.0
"""Fallback law of a robot with one motor for each coordinate, such as an arm: brake and hold, without a model.

When braking starts at position q₀ and velocity v₀, each joint (each coordinate) gets a ramp that brings its
velocity to zero with a bounded deceleration d (greater near a position limit), and then holds:

    v_r(t) = v₀ − sign(v₀) d t  until t = |v₀| / d,  then 0;      q_r = q₀ + ∫ v_r dt

The joint follows the ramp by

    τ = τ_ff + k_p (q_r − q) + k_d (v_r − v) + τ_i,      τ̇_i = k_i (q_r − q)

τ_ff is the low-passed effort of the last good commands. It contains the robot's gravity, payload included, at that
pose, which needs a model otherwise. The integral compensates the rest: the part of τ_ff that was acceleration or
friction, and the change of gravity along the way. The robot therefore comes to rest at q_r and does not drift. The
integral is bounded, and it stops when the effort saturates. Within `INTEGRAL_REST_RAD` of q_r it is frozen: with dry
friction it would hunt.

Gains: the lightest inertia of a joint and the loop's delay bound k_d; the heaviest inertia bounds k_p. They therefore
come with the robot (`models/<robot>/config/gate.yaml`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from metarl_robot.core.coordinates import unit_of
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.safety.fallback_law import Danger, GateConfig, GateError, low_pass

Array = NDArray[np.float64]
NonNegative = Annotated[float, Field(ge=0.0, le=1e5)]
Deceleration = Annotated[float, Field(ge=0.1, le=500.0)]

INTEGRAL_REST_RAD = 5e-4  # the integral ignores smaller errors
INTEGRAL_SHARE = 0.6  # bound of the integral, as a share of the effort limit
LIMIT_MARGIN_RAD = 0.1  # where possible, the ramp ends this far inside a position limit, because the arm lags behind it
DEFAULT_STIFFNESS_PER_EFFORT = 2.5  # 1/rad: soft gains for a robot without a gate.yaml
DEFAULT_DAMPING_S = 0.1  # k_d / k_p
DEFAULT_INTEGRAL_HZ = 1.0  # k_i / k_p


class StopAndHoldConfig(GateConfig):
    """Settings of the law.

    Per joint: one value for all joints, or one for each; empty: derived from the effort limits.
    """

    standstill_rad_s: float = Field(
        0.05, ge=0.001, le=1.0, description="joint speed below which the robot stands still [rad/s]"
    )
    brake_deceleration_rad_s2: tuple[Deceleration, ...] = Field(
        (8.0,), description="deceleration of a stop, per joint [rad/s^2]"
    )
    hold_stiffness_nm_rad: tuple[NonNegative, ...] = Field(
        (), description="position gain of the hold, per joint [Nm/rad]"
    )
    hold_damping_nm_s_rad: tuple[NonNegative, ...] = Field(
        (), description="velocity gain of the hold, per joint [Nm s/rad]"
    )
    hold_integral_nm_rad_s: tuple[NonNegative, ...] = Field(
        (), description="integral gain of the hold, per joint [Nm/(rad s)]"
    )
    effort_includes_gravity: bool = Field(
        True, description="false: the robot adds gravity itself, so its command starts at zero"
    )


@dataclass(frozen=True)
class HoldGains:
    """Gains per joint (n,): stiffness [Nm/rad], damping [Nm s/rad], integral [Nm/(rad s)]."""

    stiffness: Array
    damping: Array
    integral: Array


class BrakeRamp:
    """Braking ramp of position and velocity for each joint. q, v, deceleration, lower, upper: (n,)."""

    def __init__(self, q: Array, v: Array, deceleration: Array, lower: Array, upper: Array) -> None:
        towards = np.where(v >= 0.0, upper - LIMIT_MARGIN_RAD, lower + LIMIT_MARGIN_RAD)
        room = np.maximum(np.sign(v) * (towards - q), 0.0)
        needed = v**2 / (2.0 * np.maximum(room, 1e-3))  # to stop before the limit
        self._q0, self._v0 = q.copy(), v.copy()
        self._deceleration = np.maximum(deceleration, needed)
        self._duration = np.abs(v) / self._deceleration  # (n,)

    @property
    def duration_s(self) -> float:
        """Time until the last joint stands still."""
        return float(np.max(self._duration))

    def at(self, time_s: float) -> tuple[Array, Array]:
        """Ramp (q_r, v_r), each (n,), `time_s` after braking started."""
        t = np.minimum(max(time_s, 0.0), self._duration)
        slope = np.sign(self._v0) * self._deceleration
        v = np.where(t < self._duration, self._v0 - slope * t, 0.0)
        return self._q0 + self._v0 * t - 0.5 * slope * t**2, v


class Stop:
    """Control of one stop, created when braking starts.

    Arguments:
        ramp: the ramp from the state at which braking starts.
        gains: see HoldGains.
        feed_forward: (n,) [Nm] effort that held the robot before.
        effort_limit: (n,) [Nm].
    """

    def __init__(self, ramp: BrakeRamp, gains: HoldGains, feed_forward: Array, effort_limit: Array) -> None:
        self._ramp, self._gains, self._limit = ramp, gains, effort_limit
        self._feed_forward = feed_forward.copy()
        self._integral = np.zeros_like(feed_forward)
        self._time_s = 0.0

    @property
    def static_effort(self) -> Array:
        """Effort (n,) that holds the robot at rest: feed-forward plus integral.

        It can be applied without feedback for a while.
        """
        return self._feed_forward + self._integral

    @property
    def ramp_done(self) -> bool:
        return self._time_s >= self._ramp.duration_s

    def effort(self, state: State, dt_s: float) -> Array:
        """Effort (n,) [Nm], not clipped, `dt_s` after the last call."""
        self._time_s += dt_s
        q_ref, v_ref = self._ramp.at(self._time_s)
        error = q_ref - state.q
        feedback = self._gains.stiffness * error + self._gains.damping * (v_ref - state.v)
        unclipped = self.static_effort + feedback
        winding = (np.abs(unclipped) >= self._limit) & (np.sign(unclipped) == np.sign(error))
        active = (np.abs(error) > INTEGRAL_REST_RAD) & ~winding
        bound = INTEGRAL_SHARE * self._limit
        self._integral = np.clip(
            self._integral + np.where(active, self._gains.integral * error * dt_s, 0.0), -bound, bound
        )
        return self.static_effort + feedback


class StopAndHold:
    """Brake along a ramp, then hold.

    Without states the holding effort stays constant: feedback is impossible then, and a fading effort would drop the
    arm.
    """

    config = StopAndHoldConfig

    def __init__(self, robot: Robot, config: StopAndHoldConfig) -> None:
        self._robot = robot
        self._static, self._known = np.zeros(robot.nu), False
        self._stop: Stop | None = None
        self.configure(config)

    def configure(self, config: StopAndHoldConfig) -> None:
        stiffness = self._per_joint(
            config, "hold_stiffness_nm_rad", DEFAULT_STIFFNESS_PER_EFFORT * self._robot.effort_limit
        )
        damping = self._per_joint(config, "hold_damping_nm_s_rad", DEFAULT_DAMPING_S * stiffness)
        integral = self._per_joint(config, "hold_integral_nm_rad_s", DEFAULT_INTEGRAL_HZ * stiffness)
        self._deceleration = self._per_joint(config, "brake_deceleration_rad_s2", np.zeros(self._robot.nu))
        self._gains = HoldGains(stiffness, damping, integral)
        self._config = config

    @property
    def start_effort(self) -> Array | None:
        return None if self._config.effort_includes_gravity else np.zeros(self._robot.nu)

    @property
    def off(self) -> bool:
        return False

    @property
    def static_effort(self) -> Array:
        return self._static if self._stop is None else self._stop.static_effort

    def passed(self, effort: Array, state: State | None, dt_s: float) -> None:
        share = low_pass(dt_s, self._config.feed_forward_time_s) if self._known else 1.0
        self._static, self._known = self._static + share * (effort - self._static), True

    def begin(self, state: State) -> None:
        robot = self._robot
        ramp = BrakeRamp(state.q, state.v, self._deceleration, robot.position_lower, robot.position_upper)
        self._stop = Stop(ramp, self._gains, self._static, robot.effort_limit)

    def effort(self, state: State, dt_s: float) -> Array:
        if self._stop is None:
            return self._static
        effort = self._stop.effort(state, dt_s)
        self._static = self._stop.static_effort
        return effort

    def blind_effort(self, inertial: Inertial | None, dt_s: float) -> Array:
        self._stop = None
        return self._static

    def at_rest(self, state: State) -> bool:
        standing = bool(np.all(np.abs(state.v) < self._config.standstill_rad_s))
        return standing and self._stop is not None and self._stop.ramp_done

    def release(self) -> None:
        self._stop = None

    def danger(self, state: State) -> Danger | None:
        excess = np.abs(state.v) / self._robot.velocity_limit
        joint = int(np.argmax(excess))
        if excess[joint] <= self._config.overspeed_ratio:
            return None
        robot, limit = self._robot, self._robot.velocity_limit[joint]
        name, unit = f"{robot.wording.channel} '{robot.channel_names[joint]}'", unit_of(robot.coordinates.v[joint])
        return Danger("overspeed", f"{name} moves at {state.v[joint]:.2f} {unit} (limit {limit:.2f} {unit})")

    def _per_joint(self, config: StopAndHoldConfig, key: str, default: Array) -> Array:
        values, count = np.array(getattr(config, key), dtype=float), self._robot.nu
        if len(values) not in (0, 1, count):
            raise GateError(f"gate: {key} has {len(values)} values; {self._robot.name} needs none, one or {count}")
        return default if len(values) == 0 else np.broadcast_to(values, (count,)).copy()
