"""Model-predictive control of an arm: nominal dynamics plus whatever the adapter has learned, one real-time iteration a step.

The plan lives in joint accelerations (tracking_qp.py), where dynamics and cost are exactly linear and quadratic; the torque

    τ_k = (1 + ε)⁻¹ (ID(q_k, v_k, a_k) - Δ(ξ_k; z))        ε = ∂Δ/∂τ

is its one non-linear, constrained output. The candidate is the unconstrained optimum; if its torques, velocities and
positions keep to their limits at all knots it is the optimum, otherwise the limits are linearised about it and the
quadratic programme is solved. All members of the family differ in their adapter alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.features import Xi
from metarl_robot.control.limits import EffortLimiter
from metarl_robot.control.tracking_qp import Rows, TrackingQP
from metarl_robot.dynamics.arm import ArmDynamics
from metarl_robot.robot import Robot
from metarl_robot.signals import EMPTY_CONTEXT, Command, Context, Plan, Reference, Setpoints, State, Status

Array = NDArray[np.float64]

MIN_EFFORT_GAIN = 0.5
"""A motor is never assumed weaker than this."""
MAX_GAP_PERIODS = 4.0
"""Longer gaps between states do not go into the adapter: what acted meanwhile is not known."""


class MPCConfig(BaseModel):
    """Tuning that every member of the MPC family shares."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    horizon: int = Field(20, ge=2, le=200, description="number of knots")
    knot_spacing_s: float = Field(0.02, ge=0.001, le=0.2, description="time between knots [s]")
    bandwidth_rad_s: float = Field(22.0, ge=1.0, le=200.0, description="natural frequency of the unconstrained closed loop [rad/s]")
    damping_ratio: float = Field(1.0, ge=0.7, le=3.0, description="damping ratio of the unconstrained closed loop")
    latency_s: float = Field(0.005, ge=0.0, le=0.05, description="assumed delay from state to effect of a command [s]")
    limit_margin: float = Field(0.02, ge=0.0, le=0.5, description="share of the velocity and position range kept free in plans")
    braking_gain: float = Field(20.0, ge=1.0, le=200.0, description="velocity gain of the braking fallback [1/s]")


@dataclass(frozen=True)
class _Knots:
    """A plan in numbers: q, v, a (N + 1, n) and effort (N + 1, n)."""

    q: Array
    v: Array
    a: Array
    effort: Array


def _intended(q: Array, v_target: Array, a: Array) -> Xi:
    """Where the residual is evaluated in a plan: at the intended velocity.

    Friction compensated at the measured velocity would feed its noise back through the steep slope around zero.
    """
    return Xi(q, v_target, a, np.zeros_like(q), np.zeros((2, *q.shape)))


class ArmMPC:
    """See the module's docstring.

    Arguments:
        robot, dynamics: the arm; `dynamics.knots` must be horizon + 1.
        adapter: what learns.
        config: tuning.
    """

    def __init__(self, robot: Robot, dynamics: ArmDynamics, adapter: Adapter, config: MPCConfig) -> None:
        self._robot, self._dynamics, self._config = robot, dynamics, config
        self.adapter = adapter
        self._qp = TrackingQP(config.horizon, config.knot_spacing_s, config.bandwidth_rad_s, config.damping_ratio)
        self._limiter = EffortLimiter(robot)
        margin = config.limit_margin
        self._velocity_limit = (1.0 - margin) * robot.velocity_limit
        slack = 0.5 * margin * (robot.position_upper - robot.position_lower)
        self._position_lower, self._position_upper = robot.position_lower + slack, robot.position_upper - slack
        self._grid = np.arange(config.horizon + 1) * config.knot_spacing_s
        self.reset()

    def reset(self) -> None:
        self.adapter.reset()
        self._limiter.reset()
        self._context: Context = EMPTY_CONTEXT
        self._last_time: float | None = None
        self._last_state = State(self._robot.home, np.zeros(self._robot.dof))
        self._acceleration = np.zeros(self._robot.dof)
        self._plan: Plan | None = None

    def step(self, time: float, state: State, reference: Reference) -> Command:
        if not (np.all(np.isfinite(state.q)) and np.all(np.isfinite(state.v))):
            return self._fallback(time, "state is not finite")
        self._adapt(time, state)
        ahead = self._config.latency_s + 0.5 * self._robot.control_period_s
        velocity = self.adapter.velocity(state.v)
        q = state.q + ahead * velocity + 0.5 * ahead**2 * self._acceleration
        v = velocity + ahead * self._acceleration
        target = reference.sample(time + ahead + self._grid)
        knots, message = self._optimise(q, v, target)
        if not np.all(np.isfinite(knots.effort[0])):
            return self._fallback(time, "the planned effort is not finite")
        effort, _ = self._limiter.apply(knots.effort[0])
        self._acceleration = knots.a[0]
        self._plan = Plan(time + self._grid, knots.q, knots.v, knots.effort)
        return Command(effort, Status.DEGRADED if message else Status.SOLVED, message, self._plan, self._context)

    def _adapt(self, time: float, state: State) -> None:
        acted = self._limiter.last
        if self._last_time is not None and acted is not None:
            dt = time - self._last_time
            if 0.0 < dt <= MAX_GAP_PERIODS * self._robot.control_period_s:
                self._context = self.adapter.update(state, acted, dt)
        self._last_time, self._last_state = time, state

    def _optimise(self, q: Array, v: Array, target: Setpoints) -> tuple[_Knots, str]:
        inputs, errors = self._qp.candidate(np.stack([q - target.q[0], v - target.v[0]]))
        knots = self._evaluate(target, inputs, errors[:, 0], errors[:, 1])
        if not self._violates(knots):
            return knots, ""
        limits = _LinearisedLimits(self, knots, target)
        change, met = self._qp.constrain(limits.violated)
        changed = self._evaluate(
            target,
            inputs + change,
            errors[:, 0] + self._qp.position_map @ change,
            errors[:, 1] + self._qp.velocity_map @ change,
        )
        return changed, "" if met else "limits relaxed: they cannot all be met within the horizon"

    def _evaluate(self, target: Setpoints, inputs: Array, position_error: Array, velocity_error: Array) -> _Knots:
        q, v = target.q + position_error, target.v + velocity_error
        a = target.a.copy()
        a[:-1] += inputs
        residual = self.adapter.evaluate(_intended(q, target.v, a))
        return _Knots(q, v, a, (self._dynamics.efforts(q, v, a) - residual) / self.effort_gain)

    @property
    def effort_gain(self) -> Array:
        """1 + ε (n,): effect of a unit effort."""
        return np.maximum(1.0 + self.adapter.effort_gain(), MIN_EFFORT_GAIN)

    def _violates(self, knots: _Knots) -> bool:
        lower, upper = self._limiter.bounds()
        return bool(
            np.any(np.abs(knots.effort) > self._robot.effort_limit)
            or np.any(knots.effort[0] < lower)
            or np.any(knots.effort[0] > upper)
            or np.any(np.abs(knots.v[1:]) > self._velocity_limit)
            or np.any(knots.q[1:] < self._position_lower)
            or np.any(knots.q[1:] > self._position_upper)
        )

    def _fallback(self, time: float, reason: str) -> Command:
        """Follow the last plan while it is valid, then brake: τ = h(q, v) - k M v at the last good state."""
        if self._plan is not None and time <= self._plan.times[-1]:
            wanted = np.array([np.interp(time, self._plan.times, column) for column in self._plan.effort.T])
            effort, _ = self._limiter.apply(wanted)
            return Command(effort, Status.DEGRADED, f"{reason}; following the last plan", self._plan, self._context)
        last = self._last_state
        braking = -self._config.braking_gain * self._dynamics.mass_matrix(last.q) @ last.v
        effort, _ = self._limiter.apply(self._dynamics.bias(last.q, last.v) + braking)
        return Command(effort, Status.FAILED, f"{reason}; braking", None, self._context)


class _LinearisedLimits:
    """Torque, velocity and position limits about a candidate plan, as rows on the change δ of its inputs."""

    def __init__(self, mpc: ArmMPC, knots: _Knots, target: Setpoints) -> None:
        self._knots, self._qp = knots, mpc._qp
        n = mpc._robot.dof
        xi = _intended(knots.q, target.v, knots.a)
        jacobian = (mpc._dynamics.efforts_jacobian(knots.q, knots.v, knots.a) - mpc.adapter.jacobian(xi)) / mpc.effort_gain[:, None]
        self._by_q, self._by_v, self._by_a = (jacobian[:, :, i * n : (i + 1) * n] for i in range(3))
        lower, upper = mpc._limiter.bounds()
        self._effort_upper = np.broadcast_to(mpc._robot.effort_limit, knots.effort.shape).copy()
        self._effort_lower = -self._effort_upper
        self._effort_upper[0], self._effort_lower[0] = upper, lower
        self._velocity_limit = mpc._velocity_limit
        self._position = mpc._position_lower, mpc._position_upper
        self._horizon = mpc._config.horizon

    def violated(self, change: Array) -> Rows:
        """Rows that the candidate changed by δ (N, n) violates; an empty δ stands for the candidate itself."""
        q, v, effort = self._knots.q, self._knots.v, self._knots.effort
        if change.size:
            dq, dv = self._qp.position_map @ change, self._qp.velocity_map @ change
            da = np.concatenate([change, np.zeros((1, change.shape[1]))])
            effort = effort + np.einsum("kij,kj->ki", self._by_q, dq) + np.einsum("kij,kj->ki", self._by_v, dv)
            effort = effort + np.einsum("kij,kj->ki", self._by_a, da)
            q, v = q + dq, v + dv
        parts = [
            self._rows(effort, self._effort_lower, self._effort_upper, 1e-6, self._knots.effort, self._effort_row, 0),
            self._rows(v, -self._velocity_limit, self._velocity_limit, 1e-6, self._knots.v, self._velocity_row, 1),
            self._rows(q, *self._position, 1e-6, self._knots.q, self._position_row, 1),
        ]
        return Rows(np.concatenate([p.coefficients for p in parts]), np.concatenate([p.bounds for p in parts]))

    def _rows(self, value, lower, upper, tolerance, candidate, row, first) -> Rows:  # type: ignore[no-untyped-def]
        lower, upper = np.broadcast_to(lower, value.shape), np.broadcast_to(upper, value.shape)
        coefficients: list[Array] = []
        bounds: list[float] = []
        for sign, bound in ((1.0, upper), (-1.0, lower)):
            over = sign * (value - bound) > tolerance
            over[:first] = False
            for k, j in np.argwhere(over):
                coefficients.append(sign * row(k, j))
                bounds.append(float(sign * (bound[k, j] - candidate[k, j])))
        shape = (self._horizon, value.shape[1])
        return Rows(np.array(coefficients).reshape(-1, *shape), np.array(bounds))

    def _position_row(self, k: int, j: int) -> Array:
        row = np.zeros((self._horizon, self._knots.q.shape[1]))
        row[:, j] = self._qp.position_map[k]
        return row

    def _velocity_row(self, k: int, j: int) -> Array:
        row = np.zeros((self._horizon, self._knots.q.shape[1]))
        row[:, j] = self._qp.velocity_map[k]
        return row

    def _effort_row(self, k: int, j: int) -> Array:
        row = np.outer(self._qp.position_map[k], self._by_q[k, j]) + np.outer(self._qp.velocity_map[k], self._by_v[k, j])
        if k < self._horizon:
            row[k] += self._by_a[k, j]
        return row
