# SPDX-License-Identifier: Apache-2.0
"""Model-predictive control of an arm with nominal and learned dynamics, one real-time iteration per step.

The plan's inputs are joint accelerations (tracking_qp.py), with which dynamics and cost are exactly linear and
quadratic. The torque

    τ_k = (1 + ε)⁻¹ (ID(q_k, v_k, a_k) - Δ(ξ_k; z))        ε = ∂Δ/∂τ

is the one non-linear, constrained output. The candidate is the unconstrained optimum. If its torques, velocities and
positions are within their limits at all knots, it is the optimum. Otherwise the limits are linearised about the
shifted last plan, and the quadratic programme is solved: real-time iteration (Diehl, Bock, Schlöder 2005). The arm's
MPC controllers differ only in their adapter.

The rate of states that come more slowly than the robot's control rate is measured (state_rate.py). The knots are then
at least as far apart as the states, so that the plan is exact while a command is held, and the adapter is one for that
rate. Below SLOWEST_HZ the robot is held by the nominal model and a slow feedback, with the status FAILED: observers and
payloads of twice the arm's own inertia were unstable there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.adaptation.base import Adapter, external_of, skip_start
from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.joint_stops import STOP_WITHIN
from metarl_robot.adaptation.last_learned import LastLearned
from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.control.leaps import without_leaps
from metarl_robot.control.state_rate import StateRate
from metarl_robot.control.warm_start import shifted_rows
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import EMPTY_CONTEXT, Command, Context, Plan, Reference, Setpoints, State, Status
from metarl_robot.robots.arm.active_set import ActiveSet
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.linearised_limits import Outputs
from metarl_robot.robots.arm.reference_governor import ReferenceGovernor
from metarl_robot.robots.arm.short_effort import within_efforts
from metarl_robot.robots.arm.tracking_qp import TrackingQP
from metarl_robot.trajectories.splines import Hold

Array = NDArray[np.float64]

REMEMBERED = 16
"""Number of past commands kept, because their effect may still be pending."""
MIN_EFFORT_GAIN = 0.5
"""Lower bound of the assumed motor strength."""
SLOWEST_HZ = 45.0
"""Slowest states with which a reference is followed."""
FOLLOWING_SHARE, HOLDING_SHARE = 0.5, 0.4
"""Largest bandwidth of the feedback [rad/s], times the period of the states: in motion, and below SLOWEST_HZ."""
NEAR_LIMIT = 0.98
"""From this share of an effort limit on in a plan, it is tested whether the reference can be held."""
NOT_HELD = "the efforts cannot hold the reference, which is displaced"

AdapterAt = Callable[[Robot], tuple[Adapter, str]]
"""The robot at the period of its states → adapter for it, and words if it is less than the controller's own."""


class MPCConfig(BaseModel):
    """Settings shared by the arm's MPC controllers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    horizon: int = Field(20, ge=2, le=200, description="number of knots")
    knot_spacing_s: float = Field(0.02, ge=0.001, le=0.2, description="time between knots [s]")
    bandwidth_rad_s: float = Field(
        40.0, ge=1.0, le=200.0, description="natural frequency of the unconstrained closed loop [rad/s]"
    )
    damping_ratio: float = Field(1.0, ge=0.7, le=3.0, description="damping ratio of the unconstrained closed loop")
    latency_s: float = Field(
        0.005, ge=0.0, le=0.05, description="delay from state to effect of a command, where it is not learned [s]"
    )
    limit_margin: float = Field(
        0.02, ge=0.0, le=0.5, description="share of the velocity and position range kept free in plans"
    )
    braking_gain: float = Field(20.0, ge=1.0, le=200.0, description="velocity gain of the braking fallback [1/s]")


class _Knots(NamedTuple):
    """Plan: q, v, a (N + 1, n) and effort (N + 1, n)."""

    q: Array
    v: Array
    a: Array
    effort: Array


def _finite(values: Array) -> bool:
    return bool(np.count_nonzero(np.isfinite(values)) == values.size)


def _beyond(values: Array, lower: Array, upper: Array) -> bool:
    return bool(np.count_nonzero((values < lower) | (values > upper)))


class ArmMPC:
    """Model-predictive controller of an arm.

    Arguments:
        robot, dynamics: the arm; `dynamics.knots` must be horizon + 1.
        adapter_at: makes the adapter, which estimates the residual, for a period of the states.
        config: settings.
    """

    def __init__(self, robot: Robot, dynamics: ArmDynamics, adapter_at: AdapterAt, config: MPCConfig) -> None:
        self._robot, self._dynamics, self._config = robot, dynamics, config
        self._adapter_at, self._own = adapter_at, adapter_at(robot)
        self._rate, self._context = StateRate(robot.control_period_s), EMPTY_CONTEXT
        self._tune()
        self._limiter = EffortLimiter(robot)
        velocity = (1.0 - config.limit_margin) * robot.velocity_limit
        slack = 0.5 * config.limit_margin * (robot.position_upper - robot.position_lower)
        self._lower = np.stack([-robot.effort_limit, -velocity, robot.position_lower + slack])
        self._upper = np.stack([robot.effort_limit, velocity, robot.position_upper - slack])
        self._governor = ReferenceGovernor(robot, self._lower[2], self._upper[2], self._holding, self._holding_slopes)
        self.reset()

    def _tune(self, time: float = 0.0, measured: State | None = None) -> None:
        """Tune to the period of the states, which changed at the state `measured`; None: the robot's own period.

        What was learned is kept.
        """
        config, period_s = self._config, self._rate.period_s
        followed = period_s * SLOWEST_HZ <= 1.0
        bandwidth = min(config.bandwidth_rad_s, (FOLLOWING_SHARE if followed else HOLDING_SHARE) / period_s)
        self._spacing_s = max(config.knot_spacing_s, period_s)
        self._qp = TrackingQP(config.horizon, self._spacing_s, bandwidth, config.damping_ratio)
        self._active_set = ActiveSet(self._qp, self._robot.dof)
        self._grid: Array = np.arange(config.horizon + 1, dtype=np.float64) * self._spacing_s
        self._idle = np.zeros((2, len(self._grid), self._robot.dof))
        changes = self._robot.effort_rate_limit * self._robot.control_period_s / period_s  # one period's at each state
        self._effort_travel = self._grid[:, None] * changes
        self._reach = self._robot.velocity_limit / bandwidth
        self._hold = None if followed or measured is None else Hold(measured.q.copy())
        own = period_s == self._robot.control_period_s
        self.adapter, words = self._own if own else self._adapter_at(self._robot.at_period(period_s))
        self._slow = self._words(words)
        if measured is not None:
            self.adapter = self._learned.passed_to(self.adapter, time)

    def _words(self, why: str) -> str:
        """Words for states that are too slow; empty if they are not."""
        if self._hold is not None:
            why = f"at least {SLOWEST_HZ:g} Hz are needed, so that the robot is held"
        come = f"states come at {1.0 / self._rate.period_s:.0f} Hz, and control_rate_hz of robot.yaml is"
        return f"{come} {1.0 / self._robot.control_period_s:.0f}: {why}; raise the driver's rate" if why else ""

    def reset(self) -> None:
        if self._rate.period_s != self._robot.control_period_s:
            self._rate = StateRate(self._robot.control_period_s)
            self._tune()
        self._rate = StateRate(self._robot.control_period_s)
        self.adapter.reset()
        self._governor.reset()
        self._limiter.reset()
        self._context = EMPTY_CONTEXT
        self._last_time: float | None = None
        self._learned = LastLearned(self.adapter)
        self._acted: Array | None = None
        self._last_state = State(self._robot.home, np.zeros(self._robot.dof))
        self._issued = deque([(-np.inf, np.zeros(self._robot.dof))], maxlen=REMEMBERED)
        self._plan: Plan | None = None
        self._last_knots: _Knots | None = None

    def step(self, time: float, state: State, reference: Reference) -> Command:
        if not (_finite(state.q) and _finite(state.v)):
            return self.fallback(time, "state is not finite")
        self._limiter.at(time)
        if self._rate.changed(time):
            self._tune(time, state)
        reference = reference if self._hold is None else self._hold
        self._adapt(time, state)
        latency = self._config.latency_s if self.adapter.latency_s is None else self.adapter.latency_s
        ahead = latency + 0.5 * self._robot.control_period_s
        q, v = self._predicted(time, self.adapter.estimate(state), latency, ahead)
        target = reference.sample(time + ahead + self._grid)
        target = without_leaps(target, self._spacing_s, self._reach)
        target = self._within_reach(q, self._holdable(q, target))
        knots, message = self._optimise(time, q, v, target)
        if knots is None or not _finite(knots.effort):
            return self.fallback(time, message or "the planned effort is not finite")
        effort = self._limiter.apply(knots.effort[0])
        self._last_knots = knots
        self._issued.append((time, knots.a[0]))
        self._plan = Plan(time + self._grid, knots.q, knots.v, knots.effort)
        return Command(effort, *self._status(message), self._plan, self._context, external_of(self.adapter))

    def _status(self, message: str) -> tuple[Status, str]:
        displaced = NOT_HELD if self._governor.active else ""
        words = "; ".join(filter(None, (self._slow, displaced, message)))
        if self._hold is not None:
            return Status.FAILED, words
        return Status.DEGRADED if words else Status.SOLVED, words

    def _predicted(self, time: float, state: State, latency: float, ahead: float) -> tuple[Array, Array]:
        """Position and velocity after `ahead`, under the accelerations still to take effect (Smith 1957).

        Accelerations of a plan that no effort can follow must not lead to another such plan: they are bounded by the
        velocity that they predict.
        """
        q, v, end = state.q, state.v, time + ahead
        acting: list[tuple[float, Array]] = []  # for how long each acceleration acts, the last first
        for issued, a in reversed(self._issued):
            start = max(issued + latency, time)
            if start < end:
                acting.append((end - start, a))
                end = start
            if start == time:
                break
        for step, a in reversed(acting):
            q, v = q + step * v + 0.5 * step**2 * a, v + step * a
        most = np.maximum(self._robot.plausible_velocity, np.abs(state.v))
        if (np.abs(v) <= most).all():
            return q, v
        v = np.clip(np.where(np.isnan(v), state.v, v), -most, most)
        return state.q + 0.5 * ahead * (state.v + v), v

    def acted(self, effort: Array) -> None:
        """Report that this effort (nu,) acted since the last step, not the last command (see BumplessTransfer)."""
        self._limiter.reset(effort)

    def observed(self, effort: Array) -> None:
        """Report an effort that acted, for learning only.

        Unlike after `acted`, the next effort need not begin at it.
        """
        self._acted = effort
        skip_start(self.adapter)

    def flown(self, effort: Array) -> None:
        """Report the effort (nu,) that a robot's own position loop made of the last plan, for learning only."""
        self.observed(effort)

    def learn(self, time: float, state: State, effort: Array) -> Context:
        """Process a state, and the effort (nu,) that acted before it, without planning. Returns the context."""
        self._acted = effort
        self._adapt(time, state)
        return self._context

    def _adapt(self, time: float, state: State) -> None:
        acted, self._acted = self._limiter.last if self._acted is None else self._acted, None
        last_time, self._last_time, self._last_state = self._last_time, time, state
        if last_time is not None and acted is not None and time > last_time:
            self._context = self.adapter.update(state, acted, time - last_time)
            self._learned.updated(self.adapter, self._context, time)

    def _holdable(self, q: Array, target: Setpoints) -> Setpoints:
        """The reference; where the efforts of the last plan are at their limits, the nearest that they can hold."""
        limit, last = NEAR_LIMIT * self._robot.effort_limit, self._last_knots
        if not self._governor.active and (last is None or not _beyond(last.effort, -limit, limit)):
            return target
        return self._governor.governed(target, q, self._rate.period_s, self._grid)

    def _holding(self, q: Array) -> Array:
        """Efforts (N + 1, n) that hold the arm at positions q (N + 1, n)."""
        return self.effort(q, *self._still(q))

    def _holding_slopes(self, q: Array) -> Array:
        """Slopes (N + 1, n, n) of `_holding`."""
        v, a, xi = self._still(q)
        by_motion = self._dynamics.efforts_jacobian(q, v, a) - self.adapter.jacobian(xi)
        return np.asarray(by_motion[:, :, : self._robot.dof] / self.effort_gain[:, None])

    def _still(self, q: Array) -> tuple[Array, Array, Xi]:
        v, a = np.zeros((2, *q.shape))
        return v, a, self._intended(q, v, a)

    def _within_reach(self, q: Array, target: Setpoints) -> Setpoints:
        """Limit the distance to the target to v_max / ω.

        The approach then takes up to half the velocity limit.
        """
        reach = self._reach
        error = q - target.q[0]
        beyond = error - np.minimum(np.maximum(error, -reach), reach)
        if not np.count_nonzero(beyond):
            return target
        return Setpoints(target.q + beyond, target.v, target.a)

    def _optimise(self, time: float, q: Array, v: Array, target: Setpoints) -> tuple[_Knots | None, str]:
        inputs, errors = self._qp.candidate(np.array([q - target.q[0], v - target.v[0]]))
        knots = self._evaluate(target, inputs, errors[:, 0], errors[:, 1])
        if not self._violates(knots):
            return knots, ""
        outputs, slopes = self._limits(knots, self._shifted(time, q), target)
        change, met = self._active_set.constrain(outputs, slopes)
        if not met:  # efforts yield to velocities and positions
            outputs.lower[0], outputs.upper[0] = -np.inf, np.inf
            change, _ = self._active_set.constrain(outputs, slopes)
        if change is None:
            return None, "the quadratic programme could not be solved"
        changed = self._evaluate(
            target,
            inputs + change,
            errors[:, 0] + self._qp.position_map @ change,
            errors[:, 1] + self._qp.velocity_map @ change,
        )
        if met:
            return changed, ""
        return self._within_efforts(changed, slopes[0]), "limits relaxed: they cannot all be met within the horizon"

    def _within_efforts(self, knots: _Knots, slopes: Array) -> _Knots:
        """A plan whose first efforts are possible: only joints without enough effort accelerate less."""
        robot, q = self._robot, knots.q[0]
        at_upper, at_lower = q >= robot.position_upper - STOP_WITHIN, q <= robot.position_lower + STOP_WITHIN
        outward = at_upper.astype(float) - at_lower
        inertia = slopes[:, 2 * robot.dof :]
        first = within_efforts(knots.a[0], knots.effort[0], inertia, self._limiter.bounds(), outward)
        knots.a[0], knots.effort[0] = first
        return knots

    def _limits(self, knots: _Knots, about: tuple[Array, Array, Array], target: Setpoints) -> tuple[Outputs, Array]:
        """Outputs of a candidate and slopes of its efforts (N + 1, n, 3n), linearised about q, v, a (N + 1, n)."""
        xi, omega = self._intended(about[0], target.v, about[2]), self._config.bandwidth_rad_s
        by_motion = (self._dynamics.efforts_jacobian(*about) - self._residual_jacobian(xi)) / self.effort_gain[:, None]
        away = np.concatenate([x - x_0 for x, x_0 in zip(knots[:3], about, strict=True)], axis=1)
        effort = self.effort(*about, xi) + (by_motion @ away[:, :, None])[:, :, 0]
        lower, upper = (np.tile(limit[:, None], (1, len(effort), 1)) for limit in (self._lower, self._upper))
        lower[0], upper[0] = self._reachable_efforts()
        inertia = np.diagonal(by_motion[:, :, 2 * self._robot.dof :], axis1=1, axis2=2)
        ones = np.ones_like(effort)
        worth = np.stack([inertia, ones / omega, ones / omega**2])
        return Outputs(np.stack([effort, knots.v, knots.q]), lower, upper, worth), by_motion

    def _residual_jacobian(self, xi: Xi) -> Array:
        """∂Δ/∂(q, v, a) (N + 1, n, 3n) of a plan; zero by v, because Δ is evaluated at the intended velocity.

        Coulomb friction of a real arm would have slopes of some hundred Nm s/rad about standstill.
        """
        n, jacobian = self._robot.dof, self.adapter.jacobian(xi).copy()
        jacobian[:, :, n : 2 * n] = 0.0
        return jacobian

    def _shifted(self, time: float, q: Array) -> tuple[Array, Array, Array]:
        """Warm-start shift: q, v, a (N + 1, n) of the last plan at this step's knots.

        Without a plan: standing still.
        """
        if self._last_knots is None or self._plan is None:
            still = np.zeros((len(self._grid), len(q)))
            return np.tile(q, (len(self._grid), 1)), still, still
        steps = (time - self._plan.times[0]) / self._spacing_s
        q_then, v_then, a_then = (shifted_rows(rows, steps) for rows in self._last_knots[:3])
        return q_then, v_then, a_then

    def _evaluate(self, target: Setpoints, inputs: Array, position_error: Array, velocity_error: Array) -> _Knots:
        q, v = target.q + position_error, target.v + velocity_error
        a = target.a.copy()
        a[:-1] += inputs
        return _Knots(q, v, a, self.effort(q, v, a, self._intended(q, target.v, a)))

    def _intended(self, q: Array, v_target: Array, a: Array) -> Xi:
        """Points of a plan at which the residual is evaluated, at the intended velocity.

        Friction compensated at the measured velocity would feed its noise back through the steep slope around zero.
        """
        return Xi(q, v_target, a, self._idle[0], self._idle)

    def effort(self, q: Array, v: Array, a: Array, xi: Xi) -> Array:
        """Torque τ (N + 1, n) of a plan, with the residual evaluated at ξ."""
        return (self._dynamics.efforts(q, v, a) - self.adapter.evaluate(xi)) / self.effort_gain

    @property
    def effort_gain(self) -> Array:
        """Effect 1 + ε (n,) of a unit effort."""
        return np.maximum(1.0 + self.adapter.effort_gain(), MIN_EFFORT_GAIN)

    def _violates(self, knots: _Knots) -> bool:
        """True if a plan violates the limits on torque, velocity or position.

        The first knot's velocity and position are not checked: they cannot be changed.
        """
        lower, upper = self._lower, self._upper
        return (
            _beyond(knots.effort, *self._reachable_efforts())
            or _beyond(knots.v[1:], lower[1], upper[1])
            or _beyond(knots.q[1:], lower[2], upper[2])
        )

    def _reachable_efforts(self) -> tuple[Array, Array]:
        """Bounds (N + 1, n) of the efforts at the knots: within the limits, and reachable from now at the rate."""
        lower, upper = self._limiter.bounds()
        return (
            np.maximum(lower - self._effort_travel, self._lower[0]),
            np.minimum(upper + self._effort_travel, self._upper[0]),
        )

    def fallback(self, time: float, reason: str) -> Command:
        """Command without a valid state: follow the last plan while it is valid, then brake."""
        self._limiter.at(time)
        if self._plan is not None and time <= self._plan.times[-1]:
            wanted = np.array([np.interp(time, self._plan.times, column) for column in self._plan.effort.T])
            effort = self._limiter.apply(wanted)
            return Command(effort, Status.DEGRADED, f"{reason}; following the last plan", self._plan, self._context)
        effort = self._limiter.apply(self._braking(time))
        return Command(effort, Status.FAILED, f"{reason}; braking", None, self._context)

    def _braking(self, time: float) -> Array:
        """Effort (n,) of a stop: v̇ = -k v, then rest.

        It begins at the last state, or at the end of the last plan if that is later, and the motion is extrapolated.
        Braking against a velocity that is only remembered would drive the arm backwards.
        """
        begun, q, v = self._last_time, self._last_state.q, self._last_state.v
        if self._plan is not None and (begun is None or self._plan.times[-1] > begun):
            begun, q, v = self._plan.times[-1], self._plan.q[-1], self._plan.v[-1]
        gain, since_s = self._config.braking_gain, 0.0 if begun is None else max(time - begun, 0.0)
        left = float(np.exp(-gain * since_s))
        rows = [q + (1.0 - left) / gain * v, left * v, -gain * left * v]
        q, v, a = (np.tile(row, (len(self._grid), 1)) for row in rows)
        effort = self.effort(q, v, a, self._intended(q, v, a))[0]
        return effort if _finite(effort) else self._dynamics.efforts(q, v, a)[0]
