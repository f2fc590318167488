# SPDX-License-Identifier: Apache-2.0
"""The gate between a controller and the robot: pure logic without ROS, physics or learning.

Each state and command has two times: its stamp (clock of the robot or the simulation) and its arrival (this machine's
steady clock). Each tick the gate decides what to send to the robot:

    WAITING   nothing: no command has passed yet; the robot's own brakes hold it
    PASSING   the newest command, clipped to the effort limits and the effort rate, or to a part of them
              (`limit_scale`, see limit_scale.py)
    BRAKING   the effort of the fallback law (fallback_law.py), which brings the robot to rest
    HOLDING   the robot is at rest: the law holds it in place, or it has landed and its motors are off
    BLIND     the effort of the fallback law without a usable state; when states return, the law brakes from there

Stop: the gate leaves PASSING when the newest command is older than `command_timeout_s` or the newest good state older
than `state_timeout_s`, by either clock; when the law reports danger (a joint above `overspeed_ratio` times its
velocity limit, a flying robot that tips over); when the time base changes; or after `estop()`. Until its timeout the
last command is held.

Start: commands pass only while the states come within `state_timeout_s` (arming_rate.py). Slower ones would stop the
robot in motion.

Resume: the gate passes commands again after `RESUME_STREAK_S` of good ones, but only within `auto_resume_s` of the
first of a series of stops. Repeated stops latch, and so do danger and emergency stops. A latched gate needs
`rearm()`, with fresh states, fresh commands and a robot at rest. A refused command (wrong size, not finite, a stamp
out of order or out of time, another source) does not reset the timeout.

Source: the gate accepts the source of its first accepted command only. It accepts another one (a restarted
controller) while it is WAITING or latched and the previous source has been silent for `command_timeout_s`.

Lockstep with a simulation: the stamps are the only clock, and `tick` gets no steady time.

gate_invariants.py states and checks the invariants for any input. Efforts change by no more than the effort rate
times the time passed, by the stamps' clock and by the steady clock: stamps run ahead when delayed states catch up.
Each clock counts forwards only: no time passes if it stands still, goes back, is not a number or leaps by more than
`LEAP_S`. The credit starts at one control period and never exceeds the larger of that and the last tick.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.safety.arming_rate import ArmingRate
from metarl_robot.safety.fallback_law import Danger, GateConfig, GateError, law_of, low_pass
from metarl_robot.safety.input_validation import InertialIntake, Rejection, StateValidation
from metarl_robot.safety.limit_scale import ScaledLimits, scaled_config

Array = NDArray[np.float64]

RESUME_STREAK_S = 0.05  # commands must be good for this long before they pass again without `rearm`
# longest tick: longer gaps allow no larger change of effort and no longer step of the law
MAX_TICK_S = 0.05
LEAP_S = 0.25  # a larger leap of time, forwards or back, is a new time base: no time has passed
SATURATED_SHARE = 0.5  # a larger share of the time is reported as saturated


class GateState(Enum):
    """States of the gate; see the module's docstring."""

    WAITING = "waiting"
    PASSING = "passing"
    BRAKING = "braking"
    HOLDING = "holding"
    BLIND = "blind"


@dataclass(frozen=True)
class Decision:
    """Result of one tick.

    time_s: the tick's time.
    effort: (nu,) to send; None if nothing may be sent (WAITING).
    limited: the effort limit or rate was active.
    latched: only `rearm()` lets commands pass again.
    reason: why the gate is not PASSING.
    stamp_s: stamp of the newest accepted command while PASSING, else of the newest accepted state; None before the
    first.
    off: the law has switched the actuators off: zeros are sent, also below the least effort.
    """

    time_s: float
    effort: Array | None
    state: GateState
    limited: bool
    latched: bool
    reason: str
    stamp_s: float | None = None
    off: bool = False


class _Timed(Protocol):
    """A message with its two times [s]."""

    @property
    def stamp_s(self) -> float: ...

    @property
    def received_s(self) -> float: ...


class _Clock:
    """A clock that counts forwards only; see the module's docstring. elapsed_s: the sum, leaps included [s]."""

    def __init__(self) -> None:
        self._last_s: float | None = None
        self.elapsed_s = 0.0

    def restart(self) -> None:
        """The time base has changed: the next time follows on the last one."""
        self._last_s = None

    def passed_s(self, now_s: float) -> float:
        """Time since the call before, at most MAX_TICK_S [s]."""
        if not isfinite(now_s):
            return 0.0
        last_s = now_s if self._last_s is None else self._last_s
        dt_s = max(now_s - last_s, 0.0)
        self.elapsed_s += min(dt_s, _LONGEST_S)
        if abs(now_s - last_s) > LEAP_S:
            self._last_s = now_s
            return 0.0
        self._last_s = max(now_s, last_s)
        return min(dt_s, MAX_TICK_S)


@dataclass(frozen=True)
class _Command:
    effort: Array
    stamp_s: float
    received_s: float


def clip_effort(effort: Array, lower: Array, upper: Array) -> tuple[Array, bool]:
    """Clip an effort to [lower, upper]; returns (effort, whether it was limited). All (nu,)."""
    clipped = np.minimum(np.maximum(effort, lower), upper)
    return clipped, bool((clipped != effort).any())


class Gate:
    """Decides what is sent to the robot; see the module's docstring.

    counts: events by name: `command_<rejection>`, `stop_<cause>`, `effort_limited`, `rate_limited`, `scale_limited`,
    `rearmed`.
    states, inertials: validation of states and IMU measurements, with their own counts.
    source: sender of the newest accepted command.
    """

    def __init__(self, robot: Robot, config: GateConfig) -> None:
        self.robot = robot
        self.states = StateValidation(robot)
        self.inertials = InertialIntake()
        self._rate = ArmingRate()
        self.counts: Counter[str] = Counter()
        self.config = config
        self._law = law_of(robot)(robot, scaled_config(config))
        self._scaled = ScaledLimits(robot, self._law.start_effort)
        self._scaled.scale = config.limit_scale
        self._state = GateState.WAITING
        self._reason = "no command yet" if config.arm_at_start else "not armed"
        self._latched = not config.arm_at_start
        self._estopped, self._estop_reason = False, ""
        self._command: _Command | None = None
        self.source: str | None = None  # of the newest accepted command
        self._sent: Array | None = None
        self._stamps, self._steady = _Clock(), _Clock()
        # unused time of the effort rate by each clock; bounded, so that a burst of ticks gains nothing
        self._credits_s = np.full(2, robot.control_period_s)
        self._saturation = 0.0
        self._series_s: float | None = None  # start of the present series of stops
        self._passing_since_s = 0.0
        self._good_since_s: float | None = None
        self._answered_s: float | None = None
        self._epoch = 0

    def configure(self, config: GateConfig) -> None:
        """Change the parameters; a stop in progress may continue with the old ones.

        Raises GateError if they do not fit the robot.
        """
        self._law.configure(scaled_config(config))
        self.config, self._scaled.scale = config, config.limit_scale

    @property
    def state(self) -> GateState:
        return self._state

    @property
    def latched(self) -> bool:
        return self._latched

    @property
    def reason(self) -> str:
        """Reason that commands do not pass; empty while they do."""
        if self._state is GateState.WAITING and self.states.latest is None and self.states.refusals.reason:
            return self._no_state
        if self._state is GateState.WAITING and (slow := self._rate.problem(self.config.state_timeout_s)):
            return slow
        return self._reason

    @property
    def at_rest(self) -> bool:
        """Whether the robot needs no gate: never commanded, at rest, or actuators off without states."""
        return self._state in (GateState.WAITING, GateState.HOLDING) or (
            self._state is GateState.BLIND and self._law.off
        )

    @property
    def _no_state(self) -> str:
        """Reason that there is no good state, with the latest refusals."""
        return "; ".join(filter(None, ("no good state yet", self.states.refusals.reason)))

    @property
    def saturation(self) -> float:
        """Share of the last `saturation_s` with some command at a limit."""
        return self._saturation

    @property
    def saturated(self) -> bool:
        """Whether commands were at a limit for more than half of `saturation_s`."""
        return self._state is GateState.PASSING and self._saturation > SATURATED_SHARE

    def on_state(self, state: State, stamp_s: float, received_s: float) -> Rejection | None:
        """Take a measured state; None if accepted.

        A repeated state keeps the age of its first arrival. While WAITING its arrival is renewed, because a simulation
        stands still until it is commanded.
        """
        if not (isfinite(stamp_s) and isfinite(received_s)):
            self.states.reject(Rejection.NOT_FINITE)
            return Rejection.NOT_FINITE
        problem = self.states.offer(state, stamp_s, received_s)
        if problem is None:
            self._rate.accepted(stamp_s)
        if problem is Rejection.DUPLICATE and self._state is GateState.WAITING:
            self.states.refresh(received_s)
        return problem

    def on_inertial(self, inertial: Inertial, stamp_s: float, received_s: float) -> Rejection | None:
        """Take an IMU measurement; None if accepted."""
        if not (isfinite(stamp_s) and isfinite(received_s)):
            self.inertials.reject(Rejection.NOT_FINITE)
            return Rejection.NOT_FINITE
        return self.inertials.offer(inertial, stamp_s, received_s)

    def on_command(self, effort: Array, stamp_s: float, received_s: float, source: str = "") -> Rejection | None:
        """Take a command; None if accepted.

        Arguments:
            effort: (nu,).
            stamp_s: stamp of the state that it answers.
            source: name of its sender.
        """
        problem = self._command_problem(effort, stamp_s, received_s)
        if problem is None and not self._admits(source, received_s):
            problem = Rejection.OTHER_SOURCE
        if problem is None:
            self.source = source
            self._command = _Command(np.array(effort, dtype=float), stamp_s, received_s)
        else:
            self.counts[f"command_{problem.value}"] += 1
        return problem

    def time_now_s(self, steady_s: float) -> float | None:
        """Present time on the stamps' clock: the newest state's stamp plus the steady time since its arrival.

        None before the first state.
        """
        newest = self.states.latest
        return None if newest is None else newest.stamp_s + steady_s - newest.received_s

    def estop(self, reason: str = "emergency stop", cause: str = "estop") -> None:
        """Stop and latch from the next tick on. cause: a word for `counts`."""
        if not self._estopped:
            self.counts[f"stop_{cause}"] += 1
        self._estopped = self._latched = True
        self._estop_reason = reason
        if self._state is not GateState.PASSING:
            self._reason = reason

    def stood_still(self, still_s: float) -> bool:
        """Whether a pause of the process is too long for a stop to end without `rearm`."""
        return still_s > max(self.config.auto_resume_s, self.config.command_timeout_s, MAX_TICK_S)

    def new_clock(self, reason: str) -> None:
        """Report that a clock was set: stop and latch, except while WAITING."""
        if self._state is not GateState.WAITING:
            self.estop(reason, "clock")

    def rearm(self, now_s: float, steady_s: float | None = None) -> None:
        """Let commands pass again from the next tick on.

        Raises:
            GateError: states or commands are missing or old, or the robot still moves; the latch stays.
        """
        slow = self._rate.problem(self.config.state_timeout_s) or None
        obstacle = self._state_problem(now_s, steady_s) or self._age_problem(now_s, steady_s) or slow
        if obstacle is None and self._state in (GateState.BRAKING, GateState.BLIND):
            obstacle = f"the gate is still {self._state.value}"
        if obstacle is None and self._estopped and self._state is GateState.PASSING:
            obstacle = "the emergency stop has yet to begin"
        if obstacle is not None:
            raise GateError(f"not re-armed: {obstacle}; needs fresh states, fresh commands and a robot at rest")
        self._estopped = self._latched = False
        self._series_s = None
        self.counts["rearmed"] += 1

    def tick(self, now_s: float, steady_s: float | None = None) -> Decision:
        """Decide what to send at `now_s` (the stamps' clock). steady_s: None where the stamps are the only clock."""
        if self.states.epoch != self._epoch:
            self._epoch, self._command = self.states.epoch, None
            self._stamps.restart()
            self._series_s = self._good_since_s = None
        dt_s = self._stamps.passed_s(now_s)
        steady_dt_s = dt_s if steady_s is None else self._steady.passed_s(steady_s)
        self._transition(now_s, steady_s)
        wanted = self._wanted(now_s, steady_s, dt_s)
        if wanted is None:
            return Decision(now_s, None, self._state, False, self._latched, self._reason, self._stamp_s())
        effort, limited = self._clip(wanted, np.array([dt_s, steady_dt_s]))
        self._remember(effort, dt_s)
        off = self._state is not GateState.PASSING and self._law.off
        if off:
            effort, limited = np.zeros_like(effort), False
        return Decision(now_s, effort.copy(), self._state, limited, self._latched, self._reason, self._stamp_s(), off)

    def _stamp_s(self) -> float | None:
        """Stamp for `Decision`; keeps the previous one if a new time base discarded its message."""
        answered = self._command if self._state is GateState.PASSING else self.states.latest
        self._answered_s = self._answered_s if answered is None else answered.stamp_s
        return self._answered_s

    def _transition(self, now_s: float, steady_s: float | None) -> None:
        no_state, newest = self._state_problem(now_s, steady_s), self.states.latest
        danger = None if newest is None else self._law.danger(newest.state)
        no_command = self._age_problem(now_s, steady_s)
        if no_state or no_command or danger:
            self._good_since_s = None
        elif self._good_since_s is None:
            self._good_since_s = self._stamps.elapsed_s
        if self._state is GateState.PASSING:
            cause = "estop" if self._estopped else danger.cause if danger else "state" if no_state else "command"
            reason = self._estop_reason if self._estopped else self._words(danger) or no_state or no_command
            if reason is None:
                return
            self._stop(cause, reason, latch=danger is not None)
        if self._state is not GateState.WAITING and self._series_s is not None and not self._latched:
            self._latched = self._stamps.elapsed_s - self._series_s > self.config.auto_resume_s
        if self._may_pass():
            self._state, self._reason, self._passing_since_s = GateState.PASSING, "", self._stamps.elapsed_s
            self._law.release()
        elif self._state is not GateState.WAITING:
            self._brake(no_state)

    def _words(self, danger: Danger | None) -> str:
        """Reason of a danger, with the scale that may have caused it; empty if there is none."""
        scale = self.config.limit_scale
        if danger is None or scale == 1.0:
            return "" if danger is None else danger.reason
        return f"{danger.reason}; limit_scale is {scale:g}"

    def _may_pass(self) -> bool:
        if self._latched or self._good_since_s is None or self._rate.problem(self.config.state_timeout_s):
            return False
        good_s = self._stamps.elapsed_s - self._good_since_s
        return self._state is GateState.WAITING or self._series_s is None or good_s >= RESUME_STREAK_S

    def _stop(self, cause: str, reason: str, latch: bool) -> None:
        passed_s = self._stamps.elapsed_s - self._passing_since_s
        if self._series_s is None or passed_s > self.config.auto_resume_s:
            self._series_s = self._stamps.elapsed_s
        self._reason, self._state = reason, GateState.BLIND  # until a state is available
        self._latched = self._latched or latch or self.config.auto_resume_s == 0.0
        if cause != "estop":  # `estop` counted it
            self.counts[f"stop_{cause}"] += 1

    def _brake(self, no_state: str | None) -> None:
        newest = self.states.latest
        if no_state or newest is None:
            self._state = GateState.BLIND
            return
        if self._state is GateState.BLIND:
            self._law.begin(newest.state)
            self._state = GateState.BRAKING
        if self._state is GateState.BRAKING and self._law.at_rest(newest.state):
            self._state = GateState.HOLDING

    def _wanted(self, now_s: float, steady_s: float | None, dt_s: float) -> Array | None:
        newest = self.states.latest
        if self._state is GateState.WAITING:
            return None
        if self._state is GateState.PASSING and self._command is not None:
            return self._command.effort
        if self._state is GateState.BLIND or newest is None:
            return self._law.blind_effort(self._inertial(now_s, steady_s), dt_s)
        return self._law.effort(newest.state, dt_s)

    def _inertial(self, now_s: float, steady_s: float | None) -> Inertial | None:
        """Newest IMU measurement, if it is fresh."""
        newest, allowed_s = self.inertials.latest, self.config.state_timeout_s
        if newest is None or self._age_text(newest, now_s, steady_s, allowed_s):
            return None
        return newest.inertial

    def _clip(self, wanted: Array, dts_s: Array) -> tuple[Array, bool]:
        """Nearest effort within the limits and the effort rate; returns (effort, whether it was limited).

        The last effort is within the limits, so the interval allowed by the rate around it overlaps them. An effort
        clipped to the overlap satisfies both.
        """
        lower, upper = self.robot.effort_lower, self.robot.effort_limit
        last = self._law.start_effort if self._sent is None else self._sent
        wanted = self._finite(wanted, last)  # last check before sending
        passing, narrow = self._state is GateState.PASSING, False
        if passing:
            wanted, narrow = self._scaled.clip(wanted)
        rate = self._scaled.rate if passing else self.robot.effort_rate_limit
        within, over = clip_effort(wanted, lower, upper)
        effort, fast = within, False
        if last is not None:
            last = np.clip(last, lower, upper)
            period_s = self.robot.control_period_s
            self._credits_s = np.minimum(self._credits_s + dts_s, np.maximum(dts_s, period_s))
            step = rate * self._credits_s.min()
            effort, fast = clip_effort(within, np.maximum(last - step, lower), np.minimum(last + step, upper))
            used_s = float(np.max(np.abs(effort - last) / rate))
            self._credits_s = np.maximum(self._credits_s - used_s, 0.0)
        self.counts["effort_limited"] += over
        self.counts["rate_limited"] += fast
        self.counts["scale_limited"] += narrow
        return effort, over or fast or narrow

    def _finite(self, wanted: Array, last: Array | None) -> Array:
        """Replace non-finite entries of an effort (nu,) by the holding effort, or else by the last effort."""
        if np.isfinite(wanted).all():
            return wanted
        for instead in (self._law.static_effort, np.zeros(self.robot.nu) if last is None else last):
            wanted = np.where(np.isfinite(wanted), wanted, instead)
        return wanted

    def _remember(self, effort: Array, dt_s: float) -> None:
        if self._state is GateState.PASSING:
            self._law.passed(effort, None if self.states.latest is None else self.states.latest.state, dt_s)
            self._saturation += low_pass(dt_s, self.config.saturation_s) * (self._at_limit(effort) - self._saturation)
        else:
            self._saturation = 0.0
        self._sent = self.robot.effort_lower if self._law.off else effort
        self._scaled.sent(self._sent, dt_s)

    def _at_limit(self, effort: Array) -> bool:
        lower, upper = self.robot.effort_lower, self.robot.effort_limit
        return bool(
            np.any(np.abs(effort - 0.5 * (lower + upper)) >= self.config.saturation_share * 0.5 * (upper - lower))
        )

    def _command_problem(self, effort: Array, stamp_s: float, received_s: float) -> Rejection | None:
        number = _number_problem(effort, self.robot.nu)
        if number is not None or not (isfinite(stamp_s) and isfinite(received_s)):
            return number or Rejection.NOT_FINITE
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

    def _admits(self, source: str, received_s: float) -> bool:
        """Whether to accept commands of a source; see the module's docstring."""
        if self.source in (None, source):
            return True
        newest, time_s, allowed_s = self._command, self.states.time_s, self.config.command_timeout_s
        if not (self._latched or self._state is GateState.WAITING):
            return False
        return (
            newest is None or time_s is None or max(time_s - newest.stamp_s, received_s - newest.received_s) > allowed_s
        )

    def _state_problem(self, now_s: float, steady_s: float | None) -> str | None:
        newest, allowed_s = self.states.latest, self.config.state_timeout_s
        if newest is None:
            return self._no_state
        age = self._age_text(newest, now_s, steady_s, allowed_s)
        return age and "; ".join(filter(None, (f"the newest good state is {age}", self.states.refusals.reason)))

    def _age_problem(self, now_s: float, steady_s: float | None) -> str | None:
        newest, allowed_s = self._command, self.config.command_timeout_s
        if newest is None:
            return "no good command yet"
        age = self._age_text(newest, now_s, steady_s, allowed_s)
        return age and f"the newest good command is {age}"

    def _age_text(self, newest: _Timed, now_s: float, steady_s: float | None, allowed_s: float) -> str | None:
        """Fault in the age of a message, by stamp or by arrival; None if it is fresh.

        A message may be ahead of the time by `future_tolerance_s`. One further ahead has another time base and would
        count as fresh until the time catches up. An age that is not a number is not fresh.
        """
        by_stamp_s = now_s - newest.stamp_s
        by_arrival_s = by_stamp_s if steady_s is None else steady_s - newest.received_s
        least_s, most_s = -self.config.future_tolerance_s - _TOLERANCE_S, allowed_s + _TOLERANCE_S
        if least_s <= by_stamp_s <= most_s and least_s <= by_arrival_s <= most_s:
            return None
        if not (isfinite(by_stamp_s) and isfinite(by_arrival_s)):
            return "of no known age: the time is not a number"
        age_s = max(by_stamp_s, by_arrival_s)
        if age_s > most_s:
            return f"{age_s * 1e3:.0f} ms old (allowed {allowed_s * 1e3:.0f} ms)"
        return f"{-min(by_stamp_s, by_arrival_s) * 1e3:.0f} ms ahead of the time"


_LONGEST_S = 3600.0  # a longer gap counts as an hour, so that stop times stay exact to a microsecond
_TOLERANCE_S = 1e-6  # stamps are whole nanoseconds: an age equal to the timeout is allowed


def _number_problem(effort: Array, count: int) -> Rejection | None:
    """Check that an effort is (count,) finite numbers."""
    try:
        values = np.asarray(effort, dtype=float)
    except (TypeError, ValueError, OverflowError):
        return Rejection.SIZE
    if values.shape != (count,):
        return Rejection.SIZE
    return None if np.isfinite(values).all() else Rejection.NOT_FINITE
