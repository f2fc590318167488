# SPDX-License-Identifier: Apache-2.0
"""Base of a ground vehicle's predictive controllers: from a state to a command by an optimised plan.

A plan contains pose, velocity and actuator state at all knots, and the commands between them. It follows the reference
from the point nearest to the vehicle, so that a late vehicle does not cut corners to catch up. It begins at the state
predicted for the time when its command takes effect.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.linalg import solve_discrete_are

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.features import Xi
from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.control.riccati_qp import Weights
from metarl_robot.control.state_rate import StateRate
from metarl_robot.control.warm_start import shifted_rows
from metarl_robot.core.signals import EMPTY_CONTEXT, Command, Context, Plan, Reference, Setpoints, State, Status
from metarl_robot.robots.ground.actuators import Actuators
from metarl_robot.robots.ground.catching_up import reachable
from metarl_robot.robots.ground.context_names import FRICTION
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import N_PARAMETERS
from metarl_robot.robots.ground.early_braking import braked, next_stop
from metarl_robot.robots.ground.grip import steering_bounds, torque_bounds
from metarl_robot.robots.ground.plan import GroundPlan
from metarl_robot.robots.ground.route import Route, RouteConfig
from metarl_robot.robots.ground.skid_efforts import SkidEfforts
from metarl_robot.robots.ground.turning_round import TurningRound

Array = NDArray[np.float64]

MOST_IN_TRANSIT = 8
"""Largest number of commands over which a state is predicted."""
SPEED_SHARE, TURNING_SHARE = 2.0 / 7.0, 0.5
"""Scales of velocity errors over the vehicle's limits: to a slow vehicle, a standstill is not a small error."""
STOP_S, STOP_SHARE = 4.0, 0.85
"""A stop is seen this far beyond the plan [s]; it uses this share of the torque that the plan may use."""
SLOW = 2.2
"""States are named as slow if their period is longer than the control period by this ratio."""
SURE_DEVIATIONS = 2.0
"""Standard deviations by which friction beyond the description's is below its estimate."""


class PlanConfig(RouteConfig):
    """Errors are weighted by 1 / scale², so that an error of one scale costs the same for each (Bryson's rule)."""

    horizon: int = Field(25, ge=2, le=200, description="number of knots")
    knot_spacing_s: float = Field(0.04, ge=0.005, le=0.2, description="time between knots [s]")
    along_scale_m: float = Field(1.0, gt=0.0, le=100.0, description="error along the path with weight one [m]")
    across_scale_m: float = Field(0.1, gt=0.0, le=10.0, description="error across the path with weight one [m]")
    heading_scale_rad: float = Field(1.0, gt=0.0, le=10.0, description="heading error with weight one [rad]")
    speed_scale_m_s: float = Field(
        0.0, ge=0.0, le=100.0, description="speed error with weight one [m/s]; 0: 2/7 of the speed limit"
    )
    sideways_scale_m_s: float = Field(
        0.0, ge=0.0, le=100.0, description="sideways speed with weight one [m/s]; 0: 2/7 of the speed limit"
    )
    turning_scale_rad_s: float = Field(
        0.0, ge=0.0, le=100.0, description="yaw rate error with weight one [rad/s]; 0: half of the yaw rate limit"
    )
    command_scale: float = Field(0.3, gt=0.0, le=100.0, description="command error with weight one, share of the limit")
    grip_share: float = Field(
        0.9, gt=0.0, le=2.0, description="share of the estimated friction that planned torques may use"
    )
    grip_deviations: float = Field(
        0.25,
        ge=0.0,
        le=5.0,
        description="number of standard deviations by which the friction used is below its estimate",
    )
    latency_s: float = Field(0.01, ge=0.0, le=0.1, description="delay from a state to the effect of its command [s]")


Config = TypeVar("Config", bound=PlanConfig)


class Trajectory(NamedTuple):
    """A plan: start time, states (N + 1, n) and inputs (N, nu)."""

    start: float
    states: Array
    inputs: Array


class Problem(NamedTuple):
    """The optimisation problem of a plan.

    time: of its start [s]. here: (n,) its first state. targets: (N + 1, n) and ahead: (N, nu), states and inputs that
    follow the reference. parameters: (N_PARAMETERS,), see dynamics.py. guess: the last plan at these knots, or None.
    lower, upper: (N, nu) bounds of the inputs.
    """

    time: float
    here: Array
    targets: Array
    ahead: Array
    parameters: Array
    guess: Trajectory | None
    lower: Array
    upper: Array

    def begin(self) -> Trajectory:
        """The plan to improve: the guess, or the reference's states and inputs, from the first state on."""
        start = self.guess or Trajectory(self.time, self.targets.copy(), np.clip(self.ahead, self.lower, self.upper))
        start.states[0] = self.here
        return start


class PlanFollower(ABC, Generic[Config]):
    """Base of a controller that defines `_optimise` and `_forget`; see metarl_robot.control.base.Controller."""

    def __init__(self, robot: Ground, adapter: Adapter, config: Config) -> None:
        self._robot, self._config, self.adapter = robot, config, adapter
        self._functions = GroundPlan(robot, config.horizon, config.knot_spacing_s)
        self._grid: Array = config.knot_spacing_s * np.arange(config.horizon + 1.0)
        self._far_grid: Array = np.arange(0.0, self._grid[-1] + STOP_S, config.knot_spacing_s)
        self._turning = TurningRound(robot)
        self._skid_efforts = None if robot.is_steered else SkidEfforts(robot, config.horizon + 1)
        self._limiter, self._route, self._actuators = EffortLimiter(robot), Route(robot, config), Actuators(robot)
        shape = (config.horizon, robot.nu)
        self._lower, self._upper = (
            np.broadcast_to(robot.effort_lower, shape),
            np.broadcast_to(robot.effort_limit, shape),
        )

    @abstractmethod
    def _optimise(self, problem: Problem) -> tuple[Trajectory, bool]:
        """The new plan, and whether it is optimal."""

    @abstractmethod
    def _forget(self) -> None:
        """Reset the optimiser."""

    def reset(self) -> None:
        self.adapter.reset()
        self._limiter.reset()
        self._forget()
        self._route.reset()
        self._turning.reset()
        self._context: Context = EMPTY_CONTEXT
        self._last: Trajectory | None = None
        self._plan: Plan | None = None
        self._actuators.reset()
        self._rate = StateRate(self._robot.control_period_s)
        self._issued: deque[tuple[float, Array]] = deque(maxlen=16)
        self._time: float | None = None

    def observe_obstacles(self, discs: Array) -> None:
        """See Route.observe."""
        self._route.observe(discs)

    def follow(self, effort: Array) -> None:
        """Record that this effort (nu,) acted instead of the last command; see BumplessTransfer."""
        self._limiter.reset(effort)

    def step(self, time: float, state: State, reference: Reference) -> Command:
        self._limiter.at(time)
        self._rate.changed(time)
        self._adapt(time, state, self._limiter.last)
        latency = self._config.latency_s if self.adapter.latency_s is None else self.adapter.latency_s
        state = self.adapter.estimate(state)
        parameters = self._parameters()
        here = self._predicted(time, state, latency, parameters)
        self._route.friction = self._friction(parameters)
        target = self._target(time, here, reference, self._robot.mass_kg + parameters[3])
        if target is None:
            return self.fallback(time, "the reference is not finite")
        targets, feed_forward = target
        plan, optimal = self._optimise(self._problem(time, here, targets, feed_forward, parameters))
        if not math.isfinite(plan.states.sum()) or not math.isfinite(plan.inputs.sum()):
            self._last = None
            self._forget()
            return self.fallback(time, "the plan is not finite")
        self._last = plan
        efforts = np.concatenate([plan.inputs, plan.inputs[-1:]])
        self._plan = Plan(time + self._grid, plan.states[:, :3], plan.states[:, 3:6], efforts)
        effort = self._limiter.apply(plan.inputs[0])
        message = "; ".join(filter(None, (self._slow_states(), "" if optimal else "the plan is not optimal")))
        self._issued.append((time, effort))
        return Command(
            effort,
            Status.DEGRADED if message else Status.SOLVED,
            message,
            self._plan,
            self._context,
            target=self._route.target,
        )

    def fallback(self, time: float, reason: str) -> Command:
        """Command without a valid state: follow the last plan while it is valid, then roll without torque."""
        self._limiter.at(time)
        if self._plan is not None and time <= self._plan.times[-1]:
            wanted = np.array([np.interp(time, self._plan.times, column) for column in self._plan.effort.T])
            return Command(
                self._limiter.apply(wanted), Status.DEGRADED, f"{reason}; following the last plan", self._plan
            )
        return Command(
            self._limiter.apply(np.zeros(self._robot.nu)), Status.FAILED, f"{reason}; rolling without torque"
        )

    def learn(self, time: float, state: State, effort: Array) -> Context:
        """Process a state, and the effort (nu,) that acted before it, without planning. Returns the context."""
        self._adapt(time, state, effort)
        return self._context

    def _adapt(self, time: float, state: State, commanded: Array | None) -> None:
        """Advance the actuator model to this time, and pass the state to the adapter.

        commanded: (nu,) since the last state; None: not known.
        """
        if commanded is not None and self._time is not None and time > self._time:
            dt = time - self._time
            self._context = self.adapter.update(state, self._actuators.advance(commanded, dt), dt)
        self._time = time

    def _parameters(self) -> Array:
        """Parameters p (N_PARAMETERS,) of the plan's dynamics, by the adapter's context."""
        attached = self.adapter.attached_body()
        return attached if len(attached) else np.zeros(N_PARAMETERS)

    def _predicted(self, time: float, state: State, latency: float, parameters: Array) -> Array:
        """State (n,) when the next command takes effect, under the commands still in transit (Smith 1957)."""
        acting = self._actuators.acting
        here = np.concatenate([state.q, state.v, acting])
        residual = self._residual(here[None], acting[None])[0]
        if latency <= 0.0:
            return here
        x, period_s = here, self._robot.control_period_s
        transit = [effort for start, effort in self._issued if start + latency > time]
        for effort in transit[-MOST_IN_TRANSIT:][: max(1, round(latency / period_s))]:
            x = self._functions.advance(x, effort, residual, parameters, period_s)
        return x

    def _residual(self, states: Array, efforts: Array) -> Array:
        """Residual (N, 3) at states (N, n) under efforts (N, nu) that act."""
        q, v = states[:, :3], states[:, 3:6]
        xi = Xi(q, v, np.zeros_like(v), efforts, np.stack([efforts, efforts]))
        return np.asarray(np.broadcast_to(self.adapter.evaluate(xi), v.shape))

    def _hardest(self, mass_kg: float) -> tuple[float, float]:
        """Largest deceleration and acceleration [m/s²] of a plan on the believed friction."""
        robot = self._robot
        bounds = torque_bounds(robot, np.zeros((1, 6)), self._route.friction, mass_kg, self._config.grip_share)
        lower, upper = np.maximum(bounds[0][0], robot.effort_lower), np.minimum(bounds[1][0], robot.effort_limit)
        torque = np.stack([-lower, upper])[:, robot.torque_channels].sum(axis=1)
        braking, driving = torque / (robot.wheel_radius_m * (mass_kg + robot.rolling_mass_kg))
        return float(braking), float(driving)

    def _target(self, time: float, here: Array, reference: Reference, mass_kg: float) -> tuple[Array, Array] | None:
        """States (N + 1, n) and inputs (N, nu) that follow the reference from the nearest point on."""
        forward = float(np.cos(here[2]) * here[3] + np.sin(here[2]) * here[4])
        found = self._route.nearest(reference, time, here[:3], forward, 0.0)
        if found is None:
            return None
        points, spacing_s = found.reference.sample(found.time_s + self._far_grid), self._config.knot_spacing_s
        braking, driving = self._hardest(mass_kg)
        if self._turning.needed(time, here[:3], forward, points):
            route, margin_m = self._route, self._config.obstacle_margin_m
            points = self._turning.arc(here[:3], points, self._far_grid, route.friction, route.obstacles, margin_m)
        else:
            if (stop := next_stop(points)) > 0:
                points = braked(points, stop, spacing_s, abs(forward), STOP_SHARE * braking, braking)
            if self._robot.is_steered and not self._route.plans_speeds:
                points = reachable(points, spacing_s, here[:2], forward, driving, self._config.across_scale_m)
        points = Setpoints(*(rows[: len(self._grid)] for rows in (points.q, points.v, points.a)))
        q = points.q.copy()
        q[:, 2] += 2.0 * np.pi * np.round((here[2] - q[0, 2]) / (2.0 * np.pi))
        efforts = self._feed_forward(points)
        return np.concatenate([q, points.v, efforts], axis=1), efforts[:-1]

    def _feed_forward(self, points: Setpoints) -> Array:
        """Efforts (N, nu) along setpoints: without slip for a steered vehicle, otherwise see skid_efforts.py."""
        robot = self._robot
        forward = np.stack([np.cos(points.q[:, 2]), np.sin(points.q[:, 2])], axis=1)
        speed, rate = np.sum(forward * points.v[:, :2], axis=1), np.sum(forward * points.a[:, :2], axis=1)
        if self._skid_efforts is not None:
            return self._skid_efforts(np.column_stack([speed, points.v[:, 2], rate, points.a[:, 2]]))
        curvature = points.v[:, 2] / np.maximum(speed, 0.1)
        torque = rate * robot.mass_kg * robot.wheel_radius_m
        efforts = np.column_stack([np.arctan(robot.wheelbase_m * curvature), torque])
        return np.asarray(np.clip(efforts, robot.effort_lower, robot.effort_limit))

    def _problem(self, time: float, here: Array, targets: Array, ahead: Array, parameters: Array) -> Problem:
        guess = None if self._last is None else self._shifted(self._last, time)
        first_lower, first_upper = self._limiter.bounds()
        change = self._grid[:-1, None] * self._fastest()
        lower, upper = np.maximum(self._lower, first_lower - change), np.minimum(self._upper, first_upper + change)
        if guess is not None:
            least, most = self._effort_bounds(guess.states[:-1], parameters)
            lower, upper = np.clip(least, lower, upper), np.clip(most, lower, upper)
        return Problem(time, here, targets, ahead, parameters, guess, lower, upper)

    def _slow_states(self) -> str:
        """Words for states that are much slower than the control rate; empty if they are not."""
        period_s, own_s = self._rate.period_s, self._robot.control_period_s
        if period_s <= SLOW * own_s:
            return ""
        return (
            f"states come at {1.0 / period_s:.0f} Hz, and control_rate_hz of robot.yaml is {1.0 / own_s:.0f}: commands "
            f"change {period_s / own_s:.1f} times as slowly as they may; raise the rate of the states, or lower "
            "control_rate_hz"
        )

    def _fastest(self) -> Array:
        """Fastest change (nu,) of commands [1/s]: one control period's at each state (effort_limits.py)."""
        robot = self._robot
        return robot.effort_rate_limit * (robot.control_period_s / self._rate.period_s)

    def _effort_bounds(self, states: Array, parameters: Array) -> tuple[Array, Array]:
        """Bounds (N, nu) of grip.py with a lower quantile of the estimated friction."""
        robot, friction = self._robot, self._friction(parameters)
        lower, upper = torque_bounds(robot, states, friction, robot.mass_kg + parameters[3], self._config.grip_share)
        if robot.is_steered:
            lower[:, 0], upper[:, 0] = steering_bounds(robot, states, friction, math.exp(parameters[1]))
        return lower, upper

    def _friction(self, parameters: Array) -> float:
        """A lower quantile of the estimated friction, and a much lower one of friction beyond the description's."""
        deviation = self._context[FRICTION][1] if FRICTION in self._context.names else 0.0
        sure = max(parameters[0] - SURE_DEVIATIONS * deviation, 0.0)
        return self._robot.friction * math.exp(min(parameters[0] - self._config.grip_deviations * deviation, sure))

    def _shifted(self, plan: Trajectory, start: float) -> Trajectory:
        steps = max(start - plan.start, 0.0) / self._config.knot_spacing_s
        return Trajectory(start, shifted_rows(plan.states, steps), shifted_rows(plan.inputs, steps))


def weights(robot: Ground, functions: GroundPlan, config: PlanConfig) -> Weights:
    """Bryson's rule; the terminal cost is that of the infinite horizon on a straight line at half the speed limit."""
    fastest, _, turning = robot.velocity_limit
    scales = [config.along_scale_m, config.across_scale_m, config.heading_scale_rad]
    scales += [config.speed_scale_m_s or SPEED_SHARE * fastest, config.sideways_scale_m_s or SPEED_SHARE * fastest]
    scales += [config.turning_scale_rad_s or TURNING_SHARE * turning]
    state = np.array([*(1.0 / np.square(scales)), *np.zeros(robot.nu)])
    inputs = 1.0 / np.square(config.command_scale * robot.effort_limit)
    straight = np.zeros((config.horizon + 1, 6 + robot.nu))
    straight[:, 3] = 0.5 * robot.velocity_limit[0]
    still = np.zeros((config.horizon, robot.nu))
    linear = functions.linearise(straight, still, np.zeros((config.horizon, 3)), np.zeros(N_PARAMETERS), straight)
    a, b = functions.dense(linear, 0)
    terminal = solve_discrete_are(a, b, np.diag(state + 1e-6), np.diag(inputs))
    return Weights(state, inputs, np.asarray(terminal, dtype=np.float64))
