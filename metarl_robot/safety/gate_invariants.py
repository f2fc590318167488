# SPDX-License-Identifier: Apache-2.0
"""Invariants of the gate's output for any input, and their checks.

For each tick that sends an effort:

    finite       every number is finite
    limits       effort_lower <= effort <= effort_limit; exactly 0 where the law has switched the actuators off
    rate         over any window of ticks, each channel changes by at most
                 effort_rate_limit * (time passed + one control period).
                 Time passed: by the stamps' clock and by the steady clock, forwards only, at most MAX_TICK_S a tick. A
                 leap by more than LEAP_S, a change of the time base and a time that is not a number count as none
    fresh        PASSING: an accepted command and an accepted state, each no older than its timeout by either clock
                 and at most `future_tolerance_s` ahead. Otherwise the gate stops (BRAKING, HOLDING, BLIND) or has
                 not begun (WAITING)
    latched      once latched, and after an emergency stop, nothing passes until `rearm` has succeeded
    origin       PASSING and not limited: the effort is the newest accepted command. The stamp is that of the newest
                 accepted command while PASSING, else that of the newest accepted state, or the last sent stamp if
                 that state was discarded
    source       commands of one source are accepted; of another one only while WAITING or latched
    sighted      not BLIND while an accepted state is fresh

`EffortWatch` checks the first three for any stream of commands, also a recorded one. `WatchedGate` is a gate that
checks all.
"""

from __future__ import annotations

from math import isfinite

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.safety.fallback_law import GateConfig, GateError
from metarl_robot.safety.gate import LEAP_S, MAX_TICK_S, Decision, Gate, GateState
from metarl_robot.safety.input_validation import Rejection

Array = NDArray[np.float64]

ROUNDING = 1e-9  # of the effort limit
AGE_TOLERANCE_S = 2e-6


class EffortWatch:
    """Checks finiteness, limits and rate of a stream of efforts (nu,)."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._slack = ROUNDING * robot.effort_limit
        self._last: Array | None = None
        self._time_s: float | None = None
        self._passed_s = 0.0
        self._excess = np.zeros(robot.nu)  # largest change minus its allowance, over all windows that end now

    def time(self, now_s: float, new_base: bool = False) -> None:
        """Advance the clock, also without an effort."""
        if new_base or self._time_s is None or not isfinite(self._time_s):
            self._time_s = now_s if isfinite(now_s) else None
        elif isfinite(now_s):
            ahead_s = now_s - self._time_s
            self._passed_s += min(max(ahead_s, 0.0), MAX_TICK_S) if abs(ahead_s) <= LEAP_S else 0.0
            self._time_s = now_s if abs(ahead_s) > LEAP_S else max(now_s, self._time_s)

    def sent(self, effort: Array, off: bool = False) -> list[str]:
        """Violations by an effort that is sent now."""
        robot = self._robot
        if not np.isfinite(effort).all():
            return [f"finite: {effort}"]
        if off:
            self._last = robot.effort_lower.copy()
            return [] if not effort.any() else [f"limits: the actuators are off, yet {effort} is sent"]
        broken = []
        if (effort < robot.effort_lower).any() or (effort > robot.effort_limit).any():
            broken.append(f"limits: {effort} beyond {robot.effort_lower} … {robot.effort_limit}")
        if self._last is not None:
            self._excess = np.maximum(self._excess, 0.0) + np.abs(effort - self._last)
            self._excess -= robot.effort_rate_limit * self._passed_s
            credit = robot.effort_rate_limit * robot.control_period_s + self._slack
            if (self._excess > credit).any():
                broken.append(f"rate: {self._last} → {effort} after {self._passed_s:.6f} s")
        self._last, self._passed_s = effort, 0.0
        return broken


class WatchedGate:
    """A gate whose decisions are checked. violations: one line for each."""

    def __init__(self, robot: Robot, config: GateConfig) -> None:
        self.gate = Gate(robot, config)
        self.violations: list[str] = []
        self.ticks = 0
        self._by_stamps, self._by_steady = EffortWatch(robot), EffortWatch(robot)
        self._state: tuple[float, float] | None = None  # stamp and arrival of the newest accepted state
        self._command: tuple[float, float] | None = None
        self._effort: Array | None = None  # of that command
        self._source: str | None = None  # sender of that command
        self._stamp_s: float | None = None  # last sent stamp
        self._epoch = 0
        self._latched = False

    def on_state(self, state: State, stamp_s: float, received_s: float) -> Rejection | None:
        """Call Gate.on_state."""
        epoch = self.gate.states.epoch
        problem = self.gate.on_state(state, stamp_s, received_s)
        if self.gate.states.epoch != epoch:
            self._state = None
        if problem is None:
            self._state = stamp_s, received_s
        elif problem is Rejection.DUPLICATE and self.gate.state is GateState.WAITING and self._state is not None:
            self._state = self._state[0], received_s
        return problem

    def on_inertial(self, inertial: Inertial, stamp_s: float, received_s: float) -> Rejection | None:
        """Call Gate.on_inertial."""
        return self.gate.on_inertial(inertial, stamp_s, received_s)

    def new_clock(self, reason: str) -> None:
        """Call Gate.new_clock."""
        self.gate.new_clock(reason)
        self._latched = self._latched or self.gate.state is not GateState.WAITING

    def on_command(self, effort: Array, stamp_s: float, received_s: float, source: str = "") -> Rejection | None:
        """Call Gate.on_command and check the source."""
        may_change = self.gate.latched or self.gate.state is GateState.WAITING
        problem = self.gate.on_command(effort, stamp_s, received_s, source)
        if problem is None:
            if self._source not in (None, source) and not may_change:
                self.violations.append(
                    f"tick {self.ticks}: source: {source!r} is accepted, armed with {self._source!r}"
                )
            self._source = source
            self._command, self._effort = (stamp_s, received_s), np.array(effort, dtype=float)
        return problem

    def configure(self, config: GateConfig) -> None:
        """Call Gate.configure."""
        self.gate.configure(config)

    def estop(self) -> None:
        """Call Gate.estop."""
        self.gate.estop()
        self._latched = True

    def rearm(self, now_s: float, steady_s: float | None = None) -> bool:
        """Call Gate.rearm; True if it re-armed."""
        try:
            self.gate.rearm(now_s, steady_s)
        except GateError:
            return False
        self._latched = False
        return True

    def tick(self, now_s: float, steady_s: float | None = None) -> Decision:
        """Call Gate.tick and check the decision."""
        new_base = self.gate.states.epoch != self._epoch
        if new_base:
            self._epoch, self._command = self.gate.states.epoch, None
        self._by_stamps.time(now_s, new_base)
        self._by_steady.time(now_s if steady_s is None else steady_s, new_base and steady_s is None)
        decision = self.gate.tick(now_s, steady_s)
        found = []
        if decision.effort is not None:
            watches = (self._by_stamps, self._by_steady)
            found = [words for watch in watches for words in watch.sent(decision.effort, decision.off)]
        found += [*self._latch_problem(decision), *self._origin_problem(decision)]
        if decision.state is GateState.PASSING:
            found += self._age_problem(now_s, steady_s)
        elif decision.state is GateState.BLIND and self._sees(now_s, steady_s):
            found.append("sighted: a fresh state is there")
        self._latched = decision.latched
        self.violations += [f"tick {self.ticks}, {now_s} s, {decision.state.value}: {words}" for words in found]
        self.ticks += 1
        return decision

    def _latch_problem(self, decision: Decision) -> list[str]:
        if self._latched and not decision.latched:
            return ["latched: the latch fell without being re-armed"]
        passing = decision.state is GateState.PASSING
        return ["latched: commands pass"] if self._latched and passing else []

    def _origin_problem(self, decision: Decision) -> list[str]:
        passing = decision.state is GateState.PASSING
        answered = self._command if passing else self._state
        newest = [] if answered is None else [answered[0]]
        allowed = newest if passing else [*newest, self._stamp_s]  # the newest state may have been discarded
        self._stamp_s = decision.stamp_s
        if decision.effort is None:
            return []
        found = [] if decision.stamp_s in allowed else [f"origin: stamp {decision.stamp_s}, not {allowed}"]
        same = self._effort is not None and np.array_equal(decision.effort, self._effort)
        if passing and not decision.limited and not same:
            found.append(f"origin: {decision.effort} is not the command's {self._effort}")
        return found

    def _sees(self, now_s: float, steady_s: float | None) -> bool:
        """Whether an accepted state is fresh and was not discarded."""
        kept = self.gate.states.latest is not None
        return kept and self._fresh(
            self._state, now_s, steady_s, self.gate.config.state_timeout_s, slack_s=-AGE_TOLERANCE_S
        )

    def _age_problem(self, now_s: float, steady_s: float | None) -> list[str]:
        config = self.gate.config
        pairs = (("command", self._command, config.command_timeout_s), ("state", self._state, config.state_timeout_s))
        return [
            f"fresh: no {name} is"
            for name, seen, allowed_s in pairs
            if not self._fresh(seen, now_s, steady_s, allowed_s)
        ]

    def _fresh(
        self,
        seen: tuple[float, float] | None,
        now_s: float,
        steady_s: float | None,
        allowed_s: float,
        slack_s: float = AGE_TOLERANCE_S,
    ) -> bool:
        """Whether it is neither too old nor ahead; slack_s: added to both bounds, for rounding."""
        if seen is None:
            return False
        ages = [now_s - seen[0]] + ([] if steady_s is None else [steady_s - seen[1]])
        ahead_s = self.gate.config.future_tolerance_s
        return all(-ahead_s - slack_s <= age <= allowed_s + slack_s for age in ages)
