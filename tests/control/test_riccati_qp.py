# SPDX-License-Identifier: Apache-2.0
"""The Riccati solver against a dense solver of the same quadratic programme, and against its optimality conditions."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from metarl_robot.control.riccati_qp import RiccatiQP, Weights
from metarl_robot.dynamics.linearised import Linearised

N, NX, NU = 8, 6, 2


@pytest.fixture(scope="module", params=[True, False], ids=["C", "numpy"])
def problem(request: pytest.FixtureRequest) -> tuple[RiccatiQP, Weights, ca.DM, np.ndarray]:
    rng = np.random.default_rng(0)
    a = ca.sparsify(ca.DM(np.eye(NX) + 0.1 * rng.normal(size=(NX, NX)) * (rng.random((NX, NX)) < 0.4)))
    b = 0.3 * rng.normal(size=(NX, NU))
    state = rng.uniform(0.1, 2.0, NX)
    weights = Weights(state, rng.uniform(0.05, 0.5, NU), np.diag(5.0 * state) + 0.1)
    return RiccatiQP(N, weights, a.sparsity(), ca.Sparsity.dense(NX, NU), request.param), weights, a, b


def _linear(a: ca.DM, b: np.ndarray, rng: np.random.Generator) -> Linearised:
    by_state, by_input = np.tile(np.array(a.nonzeros()), (N, 1)), np.tile(b.T.ravel(), (N, 1))
    return Linearised(by_state, by_input, 0.1 * rng.normal(size=(N, NX)), rng.normal(size=(N + 1, NX)))


def _condensed(
    weights: Weights, a: np.ndarray, b: np.ndarray, linear: Linearised, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Hessian and gradient by all inputs."""
    response, free = np.zeros((N + 1, NX, N * NU)), np.zeros((N + 1, NX))
    for k in range(N):
        response[k + 1], free[k + 1] = a @ response[k], a @ free[k] + linear.defects[k]
        response[k + 1][:, k * NU : (k + 1) * NU] += b
    costs = [np.diag(weights.state)] * N + [weights.terminal]
    hessian = sum(r.T @ c @ r for r, c in zip(response, costs, strict=True)) + np.diag(np.tile(weights.input, N))
    gradient = sum(r.T @ c @ (x + e) for r, c, x, e in zip(response, costs, free, linear.errors, strict=True))
    return hessian, gradient + np.tile(weights.input, N) * offsets.ravel()


@pytest.mark.parametrize(("bound", "some_active"), [(100.0, False), (0.5, True), (0.1, True), (0.02, True)])
def test_solution_is_that_of_a_dense_solver(
    problem: tuple[RiccatiQP, Weights, ca.DM, np.ndarray], bound: float, some_active: bool
) -> None:
    qp, weights, a, b = problem
    rng = np.random.default_rng(1)
    for _ in range(10):
        linear, offsets = _linear(a, b, rng), rng.normal(size=(N, NU))
        lower, upper = -bound * rng.uniform(0.5, 1.0, (N, NU)), bound * rng.uniform(0.5, 1.0, (N, NU))
        solution = qp.solve(linear, offsets, lower, upper)
        hessian, gradient = _condensed(weights, np.array(a), b, linear, offsets)
        u = solution.inputs.ravel()
        slope = hessian @ u + gradient
        at_lower, at_upper = u <= lower.ravel() + 1e-12, u >= upper.ravel() - 1e-12
        inside = ~(at_lower | at_upper)
        assert solution.optimal
        assert np.all(u >= lower.ravel() - 1e-9) and np.all(u <= upper.ravel() + 1e-9)
        assert np.abs(slope[inside]).max(initial=0.0) < 1e-8
        assert np.all(slope[at_lower] > -1e-8) and np.all(slope[at_upper] < 1e-8)
        assert (not some_active) or not inside.all()


def test_the_plan_follows_the_dynamics(problem: tuple[RiccatiQP, Weights, ca.DM, np.ndarray]) -> None:
    qp, _, a, b = problem
    linear = _linear(a, b, np.random.default_rng(2))
    solution = qp.solve(linear, np.zeros((N, NU)), np.full((N, NU), -0.3), np.full((N, NU), 0.3))
    x = np.zeros(NX)
    for k in range(N):
        x = np.array(a) @ x + b @ solution.inputs[k] + linear.defects[k]
        assert np.allclose(x, solution.states[k + 1], atol=1e-9)


def test_a_warm_start_changes_nothing(problem: tuple[RiccatiQP, Weights, ca.DM, np.ndarray]) -> None:
    qp, _, a, b = problem
    rng = np.random.default_rng(3)
    linear, offsets, bounds = (
        _linear(a, b, rng),
        rng.normal(size=(N, NU)),
        (np.full((N, NU), -0.2), np.full((N, NU), 0.2)),
    )
    qp.reset()
    cold = qp.solve(linear, offsets, *bounds).inputs.copy()
    warm = qp.solve(linear, offsets, *bounds)
    assert np.allclose(cold, warm.inputs, atol=1e-10)
