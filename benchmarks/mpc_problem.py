# SPDX-License-Identifier: Apache-2.0
"""Optimal-control problems of our controllers, in the form in which every peer gets them.

    min  Σ_{k<N} ½ |e(x_k, p_k)|²_Q + ½ |u_k - o(p_k)|²_R  +  ½ |e(x_N, p_N)|²_P
    s.t. x_{k+1} = f(x_k, u_k, p_k),  x_0 given,
         bounds on u_k, on x_k (k > 0), on h(x_k, u_k, p_k), and at the end on h(x_N, o(p_N), p_N)

A family has the functions of one knot as CasADi SX, built from the expressions that our controllers compile; a problem
has the numbers. Quantities that a controller holds constant while it solves, or that do not depend on the plan, are
numbers for the peers too.

    quadrotor   x = (pose 7, velocity 6, motor thrusts 4), u = thrusts, e = `away` from the target.
                p = target (17,), o (4,); with a residual also its wrench (6,) and the model with payload and
                rotors (53,).
    arm         x = (q, v), u = accelerations, h = efforts. p = target q, v, a, and the drift with which a double
                integrator follows the target exactly; with a residual also the payload (10,), the learned
                context, the other terms constant at a knot (n,), and 1 + ε (n,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import casadi as ca
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_are

from metarl_robot.control.riccati_qp import Weights
from metarl_robot.core.robot import Robot
from metarl_robot.dynamics.rigid_body import N_INERTIAL, RigidBodyTree
from metarl_robot.robots.arm.mpc import MPCConfig
from metarl_robot.robots.payload import payload_site
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.mpc import FlightMPCConfig, _weights
from metarl_robot.robots.quadrotor.plan import QuadrotorPlan
from metarl_robot.robots.quadrotor.plan_step import away, sizes, split, step

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """lower, upper (n,); infinite where there is no bound."""

    lower: Array
    upper: Array

    @classmethod
    def none(cls, size: int) -> Bounds:
        return cls(np.full(size, -np.inf), np.full(size, np.inf))


@dataclass(frozen=True)
class Family:
    """Problems that differ only in numbers.

    step: (x, u, p) → f. error: (x, p) → e. offset: p → o. limited: (x, u, p) → h, without rows if there are no limits.
    limits_inputs: the effort is the input; otherwise it is h. Each problem has its own bounds of the effort at the
    first knots.
    """

    name: str
    horizon: int
    step: ca.Function
    error: ca.Function
    offset: ca.Function
    limited: ca.Function
    weights: Weights
    inputs: Bounds
    states: Bounds
    efforts: Bounds
    limits_inputs: bool

    @property
    def nx(self) -> int:
        return int(self.step.size1_in(0))

    @property
    def nu(self) -> int:
        return int(self.step.size1_in(1))

    @property
    def np(self) -> int:
        return int(self.step.size1_in(2))

    @property
    def nh(self) -> int:
        return int(self.limited.size1_out(0))

    def symbols(self) -> tuple[ca.MX | ca.SX, ca.MX | ca.SX, ca.MX | ca.SX]:
        """Symbols x, u, p: MX if there is a network, whose scalar expansion would take minutes to compile; else SX."""
        kind = ca.MX if self.limited.is_a("MXFunction") else ca.SX
        return kind.sym("x", self.nx), kind.sym("u", self.nu), kind.sym("p", self.np)

    def stage_cost(self) -> ca.Function:
        """(x, u, p) → cost of a knot before the last."""
        x, u, p = self.symbols()
        e, w = self.error(x, p), u - self.offset(p)
        cost = 0.5 * ca.dot(ca.DM(self.weights.state) * e, e) + 0.5 * ca.dot(ca.DM(self.weights.input) * w, w)
        return ca.Function("stage_cost", [x, u, p], [cost])

    def end_cost(self) -> ca.Function:
        """(x, p) → cost of the last knot."""
        x, _, p = self.symbols()
        e = self.error(x, p)
        return ca.Function("end_cost", [x, p], [0.5 * ca.dot(e, ca.DM(self.weights.terminal) @ e)])

    def limited_at_end(self) -> ca.Function:
        """(x, p) → h at the last knot."""
        x, _, p = self.symbols()
        return ca.Function("limited_at_end", [x, p], [self.limited(x, self.offset(p), p)])


@dataclass(frozen=True)
class Plan:
    """states (N + 1, nx), inputs (N, nu)."""

    states: Array
    inputs: Array


@dataclass(frozen=True)
class Problem:
    """Numbers of one problem.

    start (nx,). parameters (N + 1, np). first: bounds (m, ·) of the effort at the first m knots. guess: the last plan,
    shifted. found: our solution.
    """

    start: Array
    parameters: Array
    first: Bounds
    guess: Plan
    found: Plan


def input_bounds(family: Family, problem: Problem) -> tuple[Array, Array]:
    """Lower and upper bounds of the inputs (N, nu)."""
    return _bounds(family.inputs, problem.first if family.limits_inputs else family.inputs, family.horizon)


def limited_bounds(family: Family, problem: Problem) -> tuple[Array, Array]:
    """Lower and upper bounds of h (N + 1, nh)."""
    if family.limits_inputs:
        return np.zeros((family.horizon + 1, 0)), np.zeros((family.horizon + 1, 0))
    return _bounds(family.efforts, problem.first, family.horizon + 1)


def _bounds(bounds: Bounds, first: Bounds, knots: int) -> tuple[Array, Array]:
    lower, upper = np.tile(bounds.lower, (knots, 1)), np.tile(bounds.upper, (knots, 1))
    lower[: len(first.lower)], upper[: len(first.upper)] = first.lower, first.upper
    return lower, upper


class Judge:
    """Evaluates a plan: simulates its inputs with the exact dynamics."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._stage, self._end, self._at_end = family.stage_cost(), family.end_cost(), family.limited_at_end()

    def cost(self, problem: Problem, inputs: Array) -> float:
        """Cost of inputs (N, nu) from the problem's start."""
        x, total = ca.DM(problem.start), 0.0
        for u, p in zip(inputs, problem.parameters, strict=False):
            total += float(self._stage(x, u, p))
            x = self._family.step(x, u, p)
        return total + float(self._end(x, problem.parameters[-1]))

    def excess(self, problem: Problem, inputs: Array) -> float:
        """Largest violation of an effort bound, as a share of the effort's range; 0 without a violation."""
        efforts, (lower, upper) = inputs, input_bounds(self._family, problem)
        if not self._family.limits_inputs:
            efforts, (lower, upper) = self.efforts(problem, inputs), limited_bounds(self._family, problem)
        over = np.maximum(efforts - upper, lower - efforts) / (self._family.efforts.upper - self._family.efforts.lower)
        return max(float(over.max()), 0.0)

    def efforts(self, problem: Problem, inputs: Array) -> Array:
        """Efforts (N, nu), or (N + 1, nh) where they are not the inputs."""
        if self._family.limits_inputs:
            return inputs
        x, efforts = ca.DM(problem.start), []
        for u, p in zip(inputs, problem.parameters, strict=False):
            efforts.append(self._family.limited(x, u, p))
            x = self._family.step(x, u, p)
        efforts.append(self._at_end(x, problem.parameters[-1]))
        return np.array(ca.horzcat(*efforts)).T


def flight_family(robot: Quadrotor, config: FlightMPCConfig, residual: bool) -> Family:
    """Problems of the quadrotor controller.

    residual: with wrench and model as parameters; otherwise nominal.
    """
    plan = QuadrotorPlan(robot, config.horizon, config.knot_spacing_s)
    nx, _, nu, _ = sizes(robot)
    model = plan.model(np.zeros(N_INERTIAL), np.ones(nu))
    x, u, p = ca.SX.sym("x", nx), ca.SX.sym("u", nu), ca.SX.sym("p", nx + nu + (6 + len(model) if residual else 0))
    target, offset = p[:nx], p[nx : nx + nu]
    wrench, vector = (p[nx + nu : nx + nu + 6], p[nx + nu + 6 :]) if residual else (ca.SX.zeros(6), ca.SX(model))
    limits = Bounds(robot.effort_lower, robot.effort_limit)
    return Family(
        name="quadrotor_learned" if residual else "quadrotor",
        horizon=config.horizon,
        step=ca.Function("step", [x, u, p], [step(robot, x, u, wrench, split(robot, vector), config.knot_spacing_s)]),
        error=ca.Function("error", [x, p], [away(x, target)]),
        offset=ca.Function("offset", [p], [offset]),
        limited=ca.Function("limited", [x, u, p], [ca.SX(0, 1)]),
        weights=_weights(robot, plan, config),
        inputs=limits,
        states=Bounds.none(nx),
        efforts=limits,
        limits_inputs=True,
    )


Layers = Sequence[tuple[Array, Array]]
"""Weight (out, in) and bias (out,) of each layer of a perceptron."""


def arm_family(robot: Robot, config: MPCConfig, network: Layers | None) -> Family:
    """Problems of the arm controller. network: of the learned features; None without a residual."""
    n, step_s = robot.dof, config.knot_spacing_s
    count = 0 if network is None else len(network[-1][1]) // n
    x, u = ca.SX.sym("x", 2 * n), ca.SX.sym("u", n)
    p = ca.SX.sym("p", 5 * n + (0 if network is None else N_INERTIAL + count + 3 * n))
    target, a_target, drift = p[: 2 * n], p[2 * n : 3 * n], p[3 * n : 5 * n]
    a, b = np.kron([[1.0, step_s], [0.0, 1.0]], np.eye(n)), np.kron([[0.5 * step_s**2], [step_s]], np.eye(n))
    tree = RigidBodyTree(robot.mj_model, payload_site(robot))
    effort = tree.inverse_dynamics(x[:n], x[n:], u, ca.SX.zeros(N_INERTIAL))
    if network is not None:
        effort = effort + tree.attached_effort(x[:n], target[n:], u, p[5 * n : 5 * n + N_INERTIAL])
    limited = ca.Function("limited", [x, u, p], [effort])
    if network is not None:
        limited = _with_network(limited, network, robot, count)
    margin = config.limit_margin
    slack, speed = 0.5 * margin * (robot.position_upper - robot.position_lower), (1.0 - margin) * robot.velocity_limit
    return Family(
        name="arm" if network is None else "arm_learned",
        horizon=config.horizon,
        step=ca.Function("step", [x, u, p], [ca.DM(a) @ x + ca.DM(b) @ u + drift]),
        error=ca.Function("error", [x, p], [x - target]),
        offset=ca.Function("offset", [p], [a_target]),
        limited=limited,
        weights=_arm_weights(n, config),
        inputs=Bounds.none(n),
        states=Bounds(
            np.concatenate([robot.position_lower + slack, -speed]),
            np.concatenate([robot.position_upper - slack, speed]),
        ),
        efforts=Bounds(robot.effort_lower, robot.effort_limit),
        limits_inputs=False,
    )


def _arm_weights(n: int, config: MPCConfig) -> Weights:
    """Weights of tracking_qp.py, for all joints."""
    step, omega = config.knot_spacing_s, config.bandwidth_rad_s
    a, b = np.array([[1.0, step], [0.0, 1.0]]), np.array([[0.5 * step**2], [step]])
    state = step * np.array([omega**4, max(4.0 * config.damping_ratio**2 - 2.0, 0.0) * omega**2])
    terminal = solve_discrete_are(a, b, np.diag(state), np.array([[step]]))
    return Weights(np.repeat(state, n), np.full(n, step), np.kron(terminal, np.eye(n)))


def _with_network(rigid: ca.Function, layers: Layers, robot: Robot, count: int) -> ca.Function:
    """Add the learned terms to the efforts.

    They are the network of network.py, the terms constant at a knot, the rotors' inertia, and the motor gains.
    """
    n = robot.dof
    x, u, p = (ca.MX.sym(name, rigid.size1_in(i)) for i, name in enumerate("xup"))
    sizes = np.cumsum([0, N_INERTIAL, count, n, n, n]).tolist()
    _, context, constant, rotor, gain = ca.vertsplit(p[5 * n :], sizes)
    hidden = ca.vertcat(ca.sin(x[:n]), ca.cos(x[:n]), p[n : 2 * n] / ca.DM(robot.velocity_limit))
    for weight, bias in layers[:-1]:
        hidden = ca.tanh(ca.DM(weight) @ hidden + ca.DM(bias))
    weight, bias = layers[-1]
    basis = ca.reshape(ca.DM(weight) @ hidden + ca.DM(bias), count, n)
    return ca.Function("limited", [x, u, p], [(rigid(x, u, p) + rotor * u - basis.T @ context - constant) / gain])
