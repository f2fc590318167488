"""The gate: the last thing between a controller and the robot, as pure logic without ROS, physics or learning.

It sees every state and every command with two times each: the stamp (the clock of the robot or of the simulation) and
when it arrived (this machine's steady clock). Each tick it decides what the robot is sent:

    WAITING   nothing has been sent yet, and nothing is sent: the robot's own brakes hold it
    PASSING   the newest command, clipped to the effort limit and to the effort rate
    BRAKING   commands stopped, or an emergency stop: slow down along a ramp (brake.py)
    HOLDING   the ramp is over and the robot stands: held there, not limp
    BLIND     no usable state: the last static effort, constant. A feedback law without feedback is worse than none, and
              letting the effort fade would drop the arm. As soon as states come again it brakes from where the arm is.

Leaving PASSING: the newest command is older than `command_timeout_s` by either clock, the newest good state is older than
`state_timeout_s`, a joint is faster than `overspeed_ratio` times its limit, the time base changed, or `estop()`. Between the
last command and the deadline that command is held.

Coming back: by itself when commands have been good again for `RESUME_STREAK_S`, but no later than `auto_resume_s` after the
first of a series of stops: who stops again and again is not let back in. After that, after overspeed and after every
emergency stop, only when `rearm()` is called while states and commands are fresh and the robot stands. A refused command (wrong size, not
finite, a stamp out of order or out of time) counts as none: the deadline of the last good one goes on.

Times by one clock only: in lockstep with a simulation the stamps are the only clock, and `tick` is given no steady time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.brake import BrakeLaw, BrakeRamp, HoldGains
from metarl_robot.errors import MetaRLError
from metarl_robot.intake import Rejection, StateIntake
from metarl_robot.robot import Robot
from metarl_robot.signals import State

Array = NDArray[np.float64]

RESUME_STREAK_S = 0.05  # commands must be good for so long before they pass again by themselves
MAX_TICK_S = 0.05  # a longer gap between two ticks allows no larger change of effort and no longer ramp step than this
DEFAULT_STIFFNESS_PER_EFFORT = 2.5  # 1/rad: gains of a robot without a gate.yaml, soft on purpose
DEFAULT_DAMPING_S = 0.1  # k_d / k_p
DEFAULT_INTEGRAL_HZ = 1.0  # k_i / k_p

NonNegative = Annotated[float, Field(ge=0.0, le=1e5)]
Deceleration = Annotated[float, Field(ge=0.1, le=500.0)]


class GateError(MetaRLError):
    """The gate's configuration does not fit the robot, or a request was refused; the message says what is missing."""


class GateConfig(BaseModel):
    """The gate's numbers. Per joint: one value for all, or one for each; empty: derived from the effort limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command_timeout_s: float = Field(0.04, ge=0.002, le=1.0, description="without a command for this long, brake [s]")
    state_timeout_s: float = Field(0.04, ge=0.002, le=1.0, description="without a good state for this long, the gate is blind [s]")
    future_tolerance_s: float = Field(0.05, ge=0.0, le=1.0, description="a command stamped further ahead of the state is refused [s]")
    auto_resume_s: float = Field(
        0.5, ge=0.0, le=60.0, description="how long a stop, or a series of stops, may heal by itself; 0: never [s]"
    )
    arm_at_start: bool = Field(True, description="pass the first good command; false: wait for the re-arm service first")
    overspeed_ratio: float = Field(1.5, ge=1.0, le=10.0, description="stop and latch above this multiple of a joint's velocity limit")
    feed_forward_time_s: float = Field(0.05, ge=0.001, le=1.0, description="low pass of the effort that holds the arm [s]")
    standstill_rad_s: float = Field(0.05, ge=0.001, le=1.0, description="slower than this on every joint is standing [rad/s]")
    brake_deceleration_rad_s2: tuple[Deceleration, ...] = Field((8.0,), description="deceleration of a stop, per joint [rad/s^2]")
    hold_stiffness_nm_rad: tuple[NonNegative, ...] = Field((), description="position gain of the hold, per joint [Nm/rad]")
    hold_damping_nm_s_rad: tuple[NonNegative, ...] = Field((), description="velocity gain of the hold, per joint [Nm s/rad]")
    hold_integral_nm_rad_s: tuple[NonNegative, ...] = Field((), description="integral gain of the hold, per joint [Nm/(rad s)]")
    effort_includes_gravity: bool = Field(True, description="false: the robot adds gravity itself, so its command starts at zero")


class GateState(Enum):
    """What the gate is doing; see the module's docstring."""

    WAITING = "waiting"
    PASSING = "passing"
    BRAKING = "braking"
    HOLDING = "holding"
    BLIND = "blind"


@dataclass(frozen=True)
class Decision:
    """What one tick decided.

    time_s: the tick's time. effort: (n,) Nm to send, None when nothing may be sent (WAITING).
    limited: the effort limit or rate had to clip. latched: only `rearm()` lets commands pass again. reason: why not PASSING.
    """

    time_s: float
    effort: Array | None
    state: GateState
    limited: bool
    latched: bool
    reason: str


@dataclass(frozen=True)
class _Command:
    effort: Array
    stamp_s: float
    received_s: float


def clip_effort(effort: Array, limit: Array) -> tuple[Array, bool]:
    """(effort within ±limit, was it limited); both (n,) Nm."""
    clipped = np.clip(effort, -limit, limit)
    return clipped, bool(np.any(clipped != effort))


def clip_change(effort: Array, last: Array, step: Array) -> tuple[Array, bool]:
    """(effort within ±step of the last one, was it limited); all (n,) Nm."""
    clipped = np.clip(effort, last - step, last + step)
    return clipped, bool(np.any(clipped != effort))


class Gate:
    """See the module's docstring.

    counts: what happened, by name: `command_<rejection>`, `stop_<cause>`, `effort_limited`, `rate_limited`, `rearmed`.
    states: the intake that checks states, with its own counts.
    """

    def __init__(self, robot: Robot, config: GateConfig) -> None:
        self.robot = robot
        self.states = StateIntake(robot.dof)
        self.counts: Counter[str] = Counter()
        self.configure(config)
        self._state = GateState.WAITING
        self._reason = "no command yet" if config.arm_at_start else "not armed"
        self._latched = not config.arm_at_start
        self._estopped = False
        self._command: _Command | None = None
        self._law: BrakeLaw | None = None
        self._sent: Array | None = None
        self._credit_s = robot.control_period_s  # time whose share of the effort rate is not used yet: a burst of ticks gains nothing
        self._static = np.zeros(robot.dof)
        self._series_s: float | None = None  # when the present series of stops began
        self._passing_since_s = 0.0
        self._good_since_s: float | None = None
        self._time_s: float | None = None
        self._epoch = 0

    def configure(self, config: GateConfig) -> None:
        """Take new numbers; a stop in progress goes on with the old ones. Raises GateError when they do not fit the robot."""
        limit = self.robot.effort_limit
        stiffness = self._per_joint(config, "hold_stiffness_nm_rad", DEFAULT_STIFFNESS_PER_EFFORT * limit)
        damping = self._per_joint(config, "hold_damping_nm_s_rad", DEFAULT_DAMPING_S * stiffness)
        integral = self._per_joint(config, "hold_integral_nm_rad_s", DEFAULT_INTEGRAL_HZ * stiffness)
        self._deceleration = self._per_joint(config, "brake_deceleration_rad_s2", np.zeros(self.robot.dof))
        self._gains = HoldGains(stiffness, damping, integral)
        self.config = config

    @property
    def state(self) -> GateState:
        return self._state

    @property
    def latched(self) -> bool:
        return self._latched

    @property
    def reason(self) -> str:
        """Why commands do not pass; empty while they do."""
        return self._reason

    def on_state(self, state: State, stamp_s: float, received_s: float) -> Rejection | None:
        """Take a measured state in; None when it was accepted.

        A repeated state is as old as its first coming, except while WAITING: a simulation stands still until it is commanded.
        """
        problem = self.states.offer(state, stamp_s, received_s)
        if problem is Rejection.DUPLICATE and self._state is GateState.WAITING:
            self.states.refresh(received_s)
        return problem

    def on_command(self, effort: Array, stamp_s: float, received_s: float) -> Rejection | None:
        """Take a command in: effort (n,) Nm, stamp of the state it answers. None when it was accepted."""
        problem = self._command_problem(effort, stamp_s)
        if problem is None:
            self._command = _Command(np.array(effort, dtype=float), stamp_s, received_s)
        else:
            self.counts[f"command_{problem.value}"] += 1
        return problem

    def time_now_s(self, steady_s: float) -> float | None:
        """The stamps' clock now: the newest state's stamp and the steady time since it arrived. None before the first state."""
        newest = self.states.latest
        return None if newest is None else newest.stamp_s + steady_s - newest.received_s

    def estop(self) -> None:
        """Stop from the next tick on, and latch."""
        if not self._estopped:
            self.counts["stop_estop"] += 1
        self._estopped = self._latched = True
        if self._state is not GateState.PASSING:
            self._reason = "emergency stop"

    def rearm(self, now_s: float, steady_s: float | None = None) -> None:
        """Let commands pass again from the next tick on.

        Raises:
            GateError: states or commands are missing or old, or the robot still moves; the latch stays.
        """
        obstacle = self._state_problem(now_s, steady_s) or self._age_problem(now_s, steady_s)
        if obstacle is None and self._state in (GateState.BRAKING, GateState.BLIND):
            obstacle = f"the gate is still {self._state.value}"
        if obstacle is not None:
            raise GateError(f"not re-armed: {obstacle}; needs fresh states, fresh commands and a robot that stands")
        self._estopped = self._latched = False
        self._series_s = None
        self.counts["rearmed"] += 1

    def tick(self, now_s: float, steady_s: float | None = None) -> Decision:
        """Decide what to send at `now_s` (the stamps' clock). steady_s: None where the stamps are the only clock."""
        dt_s = 0.0 if self._time_s is None else min(max(now_s - self._time_s, 0.0), MAX_TICK_S)
        self._time_s = now_s
        if self.states.epoch != self._epoch:
            self._epoch, self._command = self.states.epoch, None
            self._series_s = self._good_since_s = None
        self._transition(now_s, steady_s)
        wanted = self._wanted(dt_s)
        if wanted is None:
            return Decision(now_s, None, self._state, False, self._latched, self._reason)
        effort, limited = self._clip(wanted, dt_s)
        self._remember(effort, dt_s)
        return Decision(now_s, effort.copy(), self._state, limited, self._latched, self._reason)

    def _transition(self, now_s: float, steady_s: float | None) -> None:
        no_state, too_fast = self._state_problem(now_s, steady_s), self._speed_problem()
        no_command = self._age_problem(now_s, steady_s)
        if no_state or no_command or too_fast:
            self._good_since_s = None
        elif self._good_since_s is None:
            self._good_since_s = now_s
        if self._state is GateState.PASSING:
            cause = "estop" if self._estopped else "overspeed" if too_fast else "state" if no_state else "command"
            reason = "emergency stop" if self._estopped else too_fast or no_state or no_command
            if reason is None:
                return
            self._stop(now_s, cause, reason)
        if self._state is not GateState.WAITING and self._series_s is not None and not self._latched:
            self._latched = now_s - self._series_s > self.config.auto_resume_s
        if self._may_pass(now_s):
            self._state, self._reason, self._law, self._passing_since_s = GateState.PASSING, "", None, now_s
        elif self._state is not GateState.WAITING:
            self._brake(no_state)

    def _may_pass(self, now_s: float) -> bool:
        if self._latched or self._good_since_s is None:
            return False
        return self._state is GateState.WAITING or self._series_s is None or now_s - self._good_since_s >= RESUME_STREAK_S

    def _stop(self, now_s: float, cause: str, reason: str) -> None:
        if self._series_s is None or now_s - self._passing_since_s > self.config.auto_resume_s:
            self._series_s = now_s
        self._reason, self._state = reason, GateState.BRAKING
        self._latched = self._latched or cause == "overspeed" or self.config.auto_resume_s == 0.0
        if cause != "estop":  # counted where it was asked for
            self.counts[f"stop_{cause}"] += 1

    def _brake(self, no_state: str | None) -> None:
        newest = self.states.latest
        if no_state or newest is None:
            self._state, self._law = GateState.BLIND, None
            return
        if self._law is None:
            ramp = BrakeRamp(newest.state.q, newest.state.v, self._deceleration, self.robot.position_lower, self.robot.position_upper)
            self._law = BrakeLaw(ramp, self._gains, self._static, self.robot.effort_limit)
            self._state = GateState.BRAKING
        if self._state is GateState.BRAKING and self._law.ramp_done and np.all(np.abs(newest.state.v) < self.config.standstill_rad_s):
            self._state = GateState.HOLDING

    def _wanted(self, dt_s: float) -> Array | None:
        if self._state is GateState.WAITING:
            return None
        if self._state is GateState.PASSING and self._command is not None:
            return self._command.effort
        if self._law is not None and self.states.latest is not None:
            return self._law.effort(self.states.latest.state, dt_s)
        return self._static

    def _clip(self, wanted: Array, dt_s: float) -> tuple[Array, bool]:
        finite = np.where(np.isfinite(wanted), wanted, self._static)  # the last look before it leaves
        effort, over = clip_effort(finite, self.robot.effort_limit)
        last, fast = self._sent, False
        if last is None and not self.config.effort_includes_gravity:
            last = np.zeros_like(effort)
        if last is not None:
            rate = self.robot.effort_rate_limit
            self._credit_s = min(self._credit_s + dt_s, max(dt_s, self.robot.control_period_s))
            effort, fast = clip_change(effort, last, rate * self._credit_s)
            self._credit_s -= float(np.max(np.abs(effort - last) / rate))
        self.counts["effort_limited"] += over
        self.counts["rate_limited"] += fast
        return effort, over or fast

    def _remember(self, effort: Array, dt_s: float) -> None:
        if self._state is GateState.PASSING:
            share = 1.0 if self._sent is None else -np.expm1(-dt_s / self.config.feed_forward_time_s)
            self._static = self._static + share * (effort - self._static)
        elif self._law is not None:
            self._static = self._law.static_effort
        self._sent = effort

    def _command_problem(self, effort: Array, stamp_s: float) -> Rejection | None:
        if np.shape(effort) != (self.robot.dof,):
            return Rejection.SIZE
        if not np.all(np.isfinite(effort)):
            return Rejection.NOT_FINITE
        newest = self.states.time_s
        if newest is None:
            return Rejection.NO_STATE
        if stamp_s - newest > self.config.future_tolerance_s:
            return Rejection.FUTURE
        if newest - stamp_s > self.config.command_timeout_s:
            return Rejection.STALE
        if self._command is not None and stamp_s < self._command.stamp_s and self.states.epoch == self._epoch:
            return Rejection.STAMP_BACKWARDS
        return None

    def _state_problem(self, now_s: float, steady_s: float | None) -> str | None:
        newest = self.states.latest
        problem = None
        if newest is None:
            problem = "no good state yet"
        elif (age := _age(now_s, newest.stamp_s, steady_s, newest.received_s)) > self.config.state_timeout_s + _TOLERANCE_S:
            problem = f"the newest good state is {age * 1e3:.0f} ms old (allowed {self.config.state_timeout_s * 1e3:.0f} ms)"
        return problem

    def _speed_problem(self) -> str | None:
        newest = self.states.latest
        if newest is None:
            return None
        excess = np.abs(newest.state.v) / self.robot.velocity_limit
        joint = int(np.argmax(excess))
        if excess[joint] <= self.config.overspeed_ratio:
            return None
        limit = self.robot.velocity_limit[joint]
        return f"joint '{self.robot.joint_names[joint]}' moves at {newest.state.v[joint]:.2f} rad/s (limit {limit:.2f} rad/s)"

    def _age_problem(self, now_s: float, steady_s: float | None) -> str | None:
        newest = self._command
        if newest is None:
            return "no good command yet"
        age = _age(now_s, newest.stamp_s, steady_s, newest.received_s)
        if age > self.config.command_timeout_s + _TOLERANCE_S:
            return f"the newest good command is {age * 1e3:.0f} ms old (allowed {self.config.command_timeout_s * 1e3:.0f} ms)"
        return None

    def _per_joint(self, config: GateConfig, key: str, default: Array) -> Array:
        values = np.array(getattr(config, key), dtype=float)
        if len(values) not in (0, 1, self.robot.dof):
            raise GateError(f"gate: {key} has {len(values)} values; {self.robot.name} needs none, one or {self.robot.dof}")
        return default if len(values) == 0 else np.broadcast_to(values, (self.robot.dof,)).copy()


_TOLERANCE_S = 1e-6  # stamps are whole nanoseconds: an age that equals the timeout is not over it


def _age(now_s: float, stamp_s: float, steady_s: float | None, received_s: float) -> float:
    """The greater of the ages by stamp and, where there is a steady clock, by arrival [s]."""
    by_stamp = now_s - stamp_s
    return by_stamp if steady_s is None else max(by_stamp, steady_s - received_s)
