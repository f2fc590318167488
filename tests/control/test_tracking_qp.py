# SPDX-License-Identifier: Apache-2.0
"""The tracking problem: its unconstrained optimum is the regulator, its constrained one agrees with a known solver."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from metarl_robot.robots.arm.tracking_qp import SLACK_WEIGHT, Rows, TrackingQP

N, JOINTS = 12, 3


@pytest.fixture(scope="module")
def qp() -> TrackingQP:
    return TrackingQP(N, 0.02, 20.0, 1.0)


def test_unconstrained_plan_is_the_double_integrator_and_settles(qp: TrackingQP) -> None:
    error = np.random.default_rng(0).normal(size=(2, JOINTS))
    inputs, errors = qp.candidate(error)
    q, v = error
    for k in range(N):
        assert np.allclose(errors[k], [q, v], atol=1e-12)
        q, v = q + 0.02 * v + 0.5 * 0.02**2 * inputs[k], v + 0.02 * inputs[k]
    change = np.random.default_rng(1).normal(size=(N, JOINTS))
    free = errors[:, 0] + qp.position_map @ change
    assert np.allclose(free[1], errors[1, 0] + 0.5 * 0.02**2 * change[0], atol=1e-12)
    assert np.abs(errors[-1, 0]).max() < 0.1 * np.abs(error).max()


def test_constrained_change_is_the_optimum_that_a_reference_solver_finds(qp: TrackingQP) -> None:
    rng = np.random.default_rng(2)
    coefficients, bounds = rng.normal(size=(6, N, JOINTS)), -np.abs(rng.normal(size=6))
    rows = Rows(coefficients, bounds, np.zeros(6, dtype=bool))
    none = Rows(coefficients[:0], bounds[:0], rows.yields[:0])

    def violated(change: np.ndarray | None) -> Rows:
        return rows if change is None else none

    change, _ = qp.constrain(violated)
    assert change is not None
    size = N * JOINTS
    hessian = np.kron(np.linalg.inv(qp._inverse_hessian), np.eye(JOINTS))
    h = np.block([[hessian, np.zeros((size, 6))], [np.zeros((6, size)), SLACK_WEIGHT * np.eye(6)]])
    a = np.hstack([coefficients.reshape(6, -1), -np.eye(6)])
    solver = ca.conic("reference", "daqp", {"h": ca.DM(h).sparsity(), "a": ca.DM(a).sparsity()})
    best = np.array(solver(h=h, g=np.zeros(size + 6), a=a, uba=bounds)["x"])[:size, 0].reshape(N, JOINTS)
    assert np.allclose(change, best, atol=1e-5 * np.abs(best).max())


def test_no_violation_means_no_change(qp: TrackingQP) -> None:
    change, met = qp.constrain(lambda change: Rows(np.zeros((0, N, JOINTS)), np.zeros(0), np.zeros(0, dtype=bool)))
    assert met and change is not None and not change.any()


def test_where_not_all_limits_can_be_met_those_that_yield_give_way(qp: TrackingQP) -> None:
    row = np.zeros((1, N, JOINTS))
    row[0, 0, 0] = 1.0
    rows = Rows(np.concatenate([row, -row]), np.array([-1.0, -1.0]), np.array([True, False]))  # δ ≤ -1 and δ ≥ 1

    change, met = qp.constrain(lambda change: rows if change is None else Rows(*(part[:0] for part in rows)))
    assert change is not None and not met
    assert change[0, 0] > 0.9
