# SPDX-License-Identifier: Apache-2.0
"""Model-predictive control of a quadrotor: nominal plus learned dynamics, one real-time iteration a step.

The plan holds pose, velocity and the motors' thrust at all knots, and the commanded thrusts between them
(robots/quadrotor/plan.py). Each step linearises about the last plan, shifted in time, and solves one quadratic
programme with exact bounds on the thrusts (riccati_qp.py): real-time iteration (Diehl, Bock, Schlöder 2005). The MPC
tracks the attitude and the thrusts that follow the reference under the learned payload, rotor effectiveness and
residual. No offset remains where these are correct. The members of the family differ only in their adapter.

The plan starts from the predicted state at the time when the command takes effect. The prediction integrates the
commands still in transit and the motors' lag over the learned latency (a Smith predictor).
"""

from __future__ import annotations

import math
from collections import deque
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.linalg import solve_discrete_are

from metarl_robot.adaptation.base import Adapter, skip_start
from metarl_robot.adaptation.features import Xi
from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.control.leaps import without_leaps
from metarl_robot.control.riccati_qp import RiccatiQP, Weights
from metarl_robot.control.warm_start import shifted_rows
from metarl_robot.core.signals import EMPTY_CONTEXT, Command, Context, Plan, Reference, Setpoints, State, Status
from metarl_robot.dynamics.rigid_body import N_INERTIAL
from metarl_robot.robots.quadrotor.approach import FlightApproach
from metarl_robot.robots.quadrotor.description import MotorModel, Quadrotor
from metarl_robot.robots.quadrotor.motor_lead import MotorLead, pace
from metarl_robot.robots.quadrotor.plan import QuadrotorPlan
from metarl_robot.robots.quadrotor.scale import FlightScale
from metarl_robot.robots.quadrotor.upright_recovery import UprightRecovery, Wrench, lift_share
from metarl_robot.robots.rigid_body_parameters import nearest_body, with_existing_payload

Array = NDArray[np.float64]

REMEMBERED = 16
"""Number of commands kept that may still be in transit."""
LEAST_SHARE = 1e-4
"""Payloads lighter than this share of the quadrotor are rounded to it."""
MIN_STRENGTH = 0.3
"""Lower bound of a rotor's effectiveness."""
PAYLOAD_REACH = 2.0
"""Greatest distance of a payload's centre of mass from its site, in lengths of an arm."""
FIRST_ITERATIONS = 5
"""Iterations of the first step, which has no plan to start from."""


class FlightMPCConfig(BaseModel):
    """Tuning shared by all members of the family.

    Errors are weighted by 1 / scale², so that an error of one scale costs the same for each (Bryson's rule).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    horizon: int = Field(20, ge=2, le=200, description="number of knots")
    knot_spacing_s: float = Field(0.05, ge=0.005, le=0.2, description="time between knots [s]")
    position_scale_m: float = Field(0.05, gt=0.0, le=10.0, description="position error with weight one [m]")
    velocity_scale_m_s: float = Field(0.5, gt=0.0, le=100.0, description="velocity error with weight one [m/s]")
    tilt_scale_rad: float = Field(0.5, gt=0.0, le=10.0, description="tilt error with weight one [rad]")
    yaw_scale_rad: float = Field(0.3, gt=0.0, le=10.0, description="heading error with weight one [rad]")
    rate_scale_rad_s: float = Field(5.0, gt=0.0, le=100.0, description="body rate error with weight one [rad/s]")
    thrust_scale: float = Field(
        0.5, gt=0.0, le=10.0, description="rotor thrust error with weight one, share of hover thrust"
    )
    reach_m: float = Field(
        0.8, gt=0.0, le=100.0, description="distance beyond which a target is approached along a feasible path [m]"
    )
    reach_speed: float = Field(
        0.125, gt=0.0, le=10.0, description="the same for the relative speed, share of the speed limit"
    )
    latency_s: float = Field(
        0.010, ge=0.0, le=0.05, description="delay from a state to the effect of its command, if it is not learned [s]"
    )


class _Issued(NamedTuple):
    """A command (n,) [N], the time when it was issued, and the motor speeds (n,) at that time.

    The speeds assume that this and all earlier commands acted without delay.
    """

    time: float
    thrusts: Array
    speeds: Array


class _Trajectory(NamedTuple):
    """The last plan: start time, states (N + 1, 13 + n) and inputs (N, n)."""

    start: float
    states: Array
    inputs: Array

    @property
    def q(self) -> Array:
        return self.states[:, :7]

    @property
    def v(self) -> Array:
        return self.states[:, 7:13]

    @property
    def finite(self) -> bool:
        return _finite(self.states) and _finite(self.inputs)

    @property
    def tumbles(self) -> bool:
        """Whether the plan turns by more than half a turn or ends upside down.

        Such plans are local optima that later steps do not leave by themselves.
        """
        x, y = self.states[-1, 4:6]
        return bool(self.states[0, 3:7].dot(self.states[-1, 3:7]) < 0.0 or 2.0 * (x * x + y * y) > 1.0)


class FlightMPC:
    """See the module's docstring.

    Arguments:
        robot: the quadrotor.
        adapter: estimates the learned quantities.
        config: tuning.
    """

    def __init__(self, robot: Quadrotor, adapter: Adapter, config: FlightMPCConfig) -> None:
        self._robot, self._config = robot, config
        self.adapter = adapter
        self._functions = QuadrotorPlan(robot, config.horizon, config.knot_spacing_s)
        weights = _weights(robot, self._functions, config)
        self._qp = RiccatiQP(config.horizon, weights, self._functions.by_state, self._functions.by_input)
        self._limiter = EffortLimiter(robot)
        self._grid: Array = np.asarray(np.arange(config.horizon + 1) * config.knot_spacing_s, dtype=np.float64)
        self._reach = PAYLOAD_REACH * FlightScale(robot).length
        self._leap = np.full(3, config.reach_m)
        self._approach = FlightApproach(robot, config.knot_spacing_s, config.reach_m, config.reach_speed)
        quick = pace(robot, config.latency_s)
        self._recovery, self._lead = UprightRecovery(robot, quick.lag_s), MotorLead(robot, quick.speed_up)
        self._lower, self._upper = (np.tile(x, (config.horizon, 1)) for x in (robot.effort_lower, robot.effort_limit))
        nearest_body()
        self.reset()

    def reset(self) -> None:
        self.adapter.reset()
        self._limiter.reset()
        self._qp.reset()
        self._recovery.reset()
        self._motors = MotorModel(self._robot, self._robot.hover_thrust)
        self._issued = deque([_Issued(-np.inf, self._robot.hover_thrust, self._motors.speeds)], maxlen=REMEMBERED)
        self._context: Context = EMPTY_CONTEXT
        self._last_time: float | None = None
        self._acted: Array | None = None
        self._plan: Plan | None = None
        self._last: _Trajectory | None = None
        self._tumbling_s = 0.0
        self._lift = 1.0

    def step(self, time: float, state: State, reference: Reference) -> Command:
        if not math.isfinite(sum(state.q.tolist()) + sum(state.v.tolist())):
            return self.fallback(time, "state is not finite")
        if state.specific_force is not None and not math.isfinite(sum(state.specific_force.tolist())):
            state = State(state.q, state.v)
        self._limiter.at(time)
        self._adapt(time, state)
        strength = np.maximum(1.0 + self.adapter.effort_gain(), MIN_STRENGTH)
        self._model = self._functions.model(self.adapter.attached_body(), strength)
        self._lift = lift_share(state.q[3:])
        recovery = self._recovery.along(
            time, state, reference, self._robot.nu * float(self._model[0]) / sum(strength.tolist())
        )
        if recovery is not None:
            return self._recover(time, recovery)
        latency = self._config.latency_s if self.adapter.latency_s is None else self.adapter.latency_s
        start = time + latency + 0.5 * self._robot.control_period_s
        now, target = self.adapter.estimate(state), reference.sample(start + self._grid)
        guess = None if self._last is None else self._shifted(self._last, start)
        residual = self._residual(now, target if guess is None else guess)
        here = self._predicted(time, now, residual[0], latency, start)
        found, optimal = self._optimise(start, here, self._within_reach(here, target), residual[1:], guess)
        if not found.finite:
            self._last = None
            return self.fallback(time, "the plan is not finite")
        effort = self._issue(time, found.inputs[0])
        self._last = self._kept(found)
        held = np.concatenate([found.inputs, found.inputs[-1:]])
        self._plan = Plan(start + self._grid, found.q, found.v, held)
        message = "" if optimal else "the quadratic programme was not solved to the end"
        return Command(effort, Status.SOLVED if optimal else Status.DEGRADED, message, self._plan, self._context)

    def _issue(self, time: float, wanted: Array) -> Array:
        """Limit thrusts (n,) [N], and remember them as issued."""
        effort = self._limiter.apply(wanted)
        self._issued.append(_Issued(time, effort, self._motors.speeds))
        return effort

    def _recover(self, time: float, recovery: Wrench) -> Command:
        """Command of the recovery from upside down; the next plan starts afresh."""
        self._last = self._plan = None
        effort = self._issue(time, self._lead.command(self._robot.thrusts(*recovery), self._motors.speeds))
        return Command(effort, Status.SOLVED, "recovering from upside down", None, self._context)

    def acted(self, effort: Array) -> None:
        """Record that this effort (nu,) acted instead of the last command; see BumplessTransfer."""
        self._limiter.reset(effort)

    def observed(self, effort: Array) -> None:
        """Record as `acted`, for learning only: the next effort need not start from it."""
        self._acted = effort
        skip_start(self.adapter)
        if self._last_time is not None:
            self._issued[-1] = self._issued[-1]._replace(thrusts=effort)

    def flown(self, effort: Array) -> None:
        """Record that an autopilot's rate loop made this effort (nu,) of the last command.

        The adapter learns from it. The plan continues from the commands: begun from the loop's own torques, the rates
        that it asks for would follow these torques, and the two would oscillate.
        """
        self._acted = effort
        skip_start(self.adapter)

    def learn(self, time: float, state: State, effort: Array) -> Context:
        """Process a state, and the effort (nu,) that acted before it, without planning. Returns the context."""
        self._acted = effort
        self._adapt(time, state)
        return self._context

    def _adapt(self, time: float, state: State) -> None:
        acted, self._acted = self._limiter.last if self._acted is None else self._acted, None
        if self._last_time is not None and acted is not None and time > self._last_time:
            dt = time - self._last_time
            context = self.adapter.update(state, self._motors.advance(acted, dt), dt)
            self._context = with_existing_payload(context, self._reach, LEAST_SHARE * self._robot.mass_kg)
        self._last_time = time

    def _residual(self, now: State, plan: Setpoints | _Trajectory) -> Array:
        """Residual (N + 2, 6) at the present state and at the knots of a plan.

        It excludes the part that depends on thrust or acceleration; that part is in the plan's own dynamics.
        """
        q, v = np.concatenate([now.q[None], plan.q]), np.concatenate([now.v[None], plan.v])
        return self.adapter.evaluate(Xi(q, v, *_unmoved(len(q), self._robot.nu)))

    def _predicted(self, time: float, state: State, residual: Array, latency: float, start: float) -> Array:
        """Predict the state (13 + n,) at `start` under the commands still in transit (Smith 1957)."""
        commands = list(self._issued)
        acting = len(commands) - 1
        while acting > 0 and commands[acting].time + latency > time:
            acting -= 1
        motors = MotorModel(self._robot, self._robot.thrusts_of(commands[acting].speeds))
        since = time - latency - commands[acting].time
        if 0.0 < since < np.inf:
            motors.advance(commands[acting].thrusts, since)
        x, now = np.concatenate([state.q, state.v, motors.thrusts]), time
        ends = [*(command.time + latency for command in commands[acting + 1 :]), start]
        for command, end in zip(commands[acting:], ends, strict=True):
            if min(end, start) > now:
                x = self._functions.advance(x, command.thrusts, residual, self._model, min(end, start) - now)
                now = min(end, start)
        return x

    def _within_reach(self, here: Array, target: Setpoints) -> Setpoints:
        """Return the reference without later leaps, or the approach to it where it is too far away."""
        spacing_s = self._config.knot_spacing_s
        return self._approach.to(here, without_leaps(target, spacing_s, self._leap))

    def _optimise(
        self, start: float, here: Array, target: Setpoints, residual: Array, guess: _Trajectory | None
    ) -> tuple[_Trajectory, bool]:
        """Return the new plan, and whether its quadratic programme was solved to optimality."""
        lower, upper = self._lower, self._upper
        lower[0], upper[0] = self._limiter.bounds()
        targets, feed_forward = self._functions.target(target.q, target.v, target.a, residual, self._model)
        begin = guess or _Trajectory(start, _turning_on(here, targets), np.clip(feed_forward[:-1], lower, upper))
        states, inputs, optimal = begin.states, begin.inputs, True
        states[0] = here
        for _ in range(FIRST_ITERATIONS if guess is None else 1):
            linear = self._functions.linearise(states, inputs, residual[:-1], self._model, targets)
            solution = self._qp.solve(linear, inputs - feed_forward[:-1], lower - inputs, upper - inputs)
            states, inputs, optimal = (
                self._functions.moved(states, solution.states).copy(),
                inputs + solution.inputs,
                solution.optimal,
            )
        return _Trajectory(start, states, inputs), optimal

    def _kept(self, plan: _Trajectory) -> _Trajectory | None:
        """Return the plan to start the next step from; None after plans have tumbled for one horizon."""
        self._tumbling_s = self._tumbling_s + self._robot.control_period_s if plan.tumbles else 0.0
        if self._tumbling_s < self._grid[-1]:
            return plan
        self._tumbling_s = 0.0
        return None

    def _shifted(self, plan: _Trajectory, start: float) -> _Trajectory:
        """Shift a plan forward to `start`; a shorter latency can put `start` before its beginning: then not at all."""
        steps = max(start - plan.start, 0.0) / self._config.knot_spacing_s
        states, inputs = shifted_rows(plan.states, steps), shifted_rows(plan.inputs, steps)
        attitudes = states[:, 3:7]
        attitudes /= np.sqrt(np.square(attitudes).sum(axis=1, keepdims=True))
        return _Trajectory(start, states, inputs)

    def fallback(self, time: float, reason: str) -> Command:
        """Command without a valid state: follow the last plan while it is valid, then hover thrust.

        Of hover thrust only the share that lifts at the last known attitude: none upside down.
        """
        self._limiter.at(time)
        if self._plan is not None and time <= self._plan.times[-1]:
            wanted = np.array([np.interp(time, self._plan.times, column) for column in self._plan.effort.T])
            effort = self._limiter.apply(wanted)
            return Command(effort, Status.DEGRADED, f"{reason}; following the last plan", self._plan, self._context)
        effort = self._limiter.apply(self._lift * self._robot.hover_thrust)
        return Command(effort, Status.FAILED, f"{reason}; hover thrust", None, self._context)


def _finite(array: Array) -> bool:
    """Whether every number is finite; tested by their sum, which is faster and differs only on overflow."""
    return math.isfinite(np.add.reduce(array, axis=None))


def _turning_on(here: Array, targets: Array) -> Array:
    """Choose the signs of the quaternions of targets (N + 1, 13 + n) so that they are continuous from `here`.

    q and -q are the same attitude.
    """
    states = targets.copy()
    before = np.concatenate([here[None, 3:7], states[:-1, 3:7]])
    states[:, 3:7] *= np.cumprod(np.where((before * states[:, 3:7]).sum(axis=1) < 0.0, -1.0, 1.0))[:, None]
    return states


@cache
def _unmoved(count: int, rotors: int) -> tuple[Array, Array, Array]:
    """Return zero acceleration (N, 6), thrust (N, n) and earlier thrusts (2, N, n)."""
    return np.zeros((count, 6)), np.zeros((count, rotors)), np.zeros((2, count, rotors))


def _weights(robot: Quadrotor, functions: QuadrotorPlan, config: FlightMPCConfig) -> Weights:
    """Bryson's rule; the terminal cost is that of the infinite horizon about hover."""
    scales = [config.position_scale_m] * 3 + [config.tilt_scale_rad] * 2 + [config.yaw_scale_rad]
    scales += [config.velocity_scale_m_s] * 3 + [config.rate_scale_rad_s] * 3
    thrust = config.thrust_scale * float(robot.hover_thrust.mean())
    state, inputs = np.array([*(1.0 / np.square(scales)), *np.zeros(robot.nu)]), np.full(robot.nu, 1.0 / thrust**2)
    hover = np.concatenate([robot.home, np.zeros(6), robot.hover_thrust])
    knots = np.tile(hover, (config.horizon + 1, 1))
    model = functions.model(np.zeros(N_INERTIAL), np.ones(robot.nu))
    linear = functions.linearise(knots, knots[:-1, 13:], np.zeros((config.horizon, 6)), model, knots)
    a, b = functions.dense(linear, 0)
    terminal = solve_discrete_are(a, b, np.diag(state), np.diag(inputs))
    return Weights(state, inputs, np.asarray(terminal, dtype=np.float64))
