# SPDX-License-Identifier: Apache-2.0
"""Path integral control: the optimum of a linear-quadratic problem, bounds and rates, seeds, samples that diverge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_are

from metarl_robot.control.mppi import MPPI, Bounds, Sampling, Solution

Array = NDArray[np.float64]

A, B = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]])
Q, R = np.diag([1.0, 0.1]), np.array([[0.1]])
P: Array = solve_discrete_are(A, B, Q, R)
START, KNOTS = np.array([1.0, 0.0]), 20
NO_BOUNDS = Bounds(np.full((KNOTS, 1), -np.inf), np.full((KNOTS, 1), np.inf))


def _advance(states: Array, inputs: Array, _: int) -> Array:
    return states @ A.T + inputs @ B.T


def _cost(states: Array, inputs: Array) -> Array:
    """Costs (K,) whose optimum from START is START P START: the terminal cost is that of the infinite horizon."""
    stage = np.einsum("nki,ij,nkj->k", states[:-1], Q, states[:-1]) + R[0, 0] * np.square(inputs).sum(axis=(0, 2))
    return stage + np.einsum("ki,ij,kj->k", states[-1], P, states[-1])


def _cost_of(inputs: Array) -> float:
    states = [START]
    for u in inputs:
        states.append(A @ states[-1] + B @ u)
    return float(_cost(np.array(states)[:, None], inputs[:, None])[0])


def _mppi(advance: Any = _advance, cost: Any = _cost, **changes: Any) -> MPPI:
    chosen = {"samples": 256, "temperature": 0.02, "noise": np.array([0.3]), "correlation": 0.7, "seed": 1000}
    return MPPI(Sampling(**{**chosen, **changes}), advance, cost)


def _improved(mppi: MPPI, times: int, bounds: Bounds = NO_BOUNDS) -> Solution:
    found = Solution(np.zeros((KNOTS, 1)), True, 0.0)
    for _ in range(times):
        found = mppi.improve(START, found.inputs, bounds)
    return found


def test_it_approaches_the_linear_quadratic_regulator() -> None:
    best = float(START @ P @ START)
    assert _cost_of(np.zeros((KNOTS, 1))) > 2.0 * best
    found = _improved(_mppi(), 60)
    assert best <= _cost_of(found.inputs) < 1.02 * best


def test_a_lower_temperature_uses_fewer_samples() -> None:
    hot, cold = (_improved(_mppi(temperature=t), 1).effective for t in (100.0, 0.02))
    assert 1.0 <= cold < 0.2 * 256 and 0.8 * 256 < hot <= 256.0 + 1e-9


@pytest.mark.parametrize("seed", [1000, 1001, 1002])
def test_plans_stay_within_bounds_and_rates(seed: int) -> None:
    """All samples do, and their mean, though the best plan would exceed them."""
    lower, upper = np.full((KNOTS, 1), -0.5), np.full((KNOTS, 1), 0.4)
    lower[0], upper[0] = -0.1, 0.05
    seen: list[Array] = []

    def cost(states: Array, inputs: Array) -> Array:
        seen.append(inputs.copy())
        return _cost(states, inputs)

    found = _improved(_mppi(cost=cost, seed=seed, noise=np.array([2.0])), 20, Bounds(lower, upper, np.array([0.15])))
    for plans in (*seen, found.inputs[:, None]):
        assert np.all(plans >= lower[:, None] - 1e-12) and np.all(plans <= upper[:, None] + 1e-12)
        assert np.abs(np.diff(plans, axis=0)).max() <= 0.15 + 1e-12
    assert found.inputs.min() < -0.4  # the bound is used


def test_noise_has_the_given_size_and_correlation() -> None:
    seen: list[Array] = []

    def cost(states: Array, inputs: Array) -> Array:
        seen.append(inputs.copy())
        return np.zeros(inputs.shape[1])

    _mppi(cost=cost, samples=20000, correlation=0.6).improve(START, np.zeros((KNOTS, 1)), NO_BOUNDS)
    noise = seen[0][:, 1:, 0]
    np.testing.assert_allclose(noise.std(axis=1), 0.3, rtol=0.03)  # 6 standard deviations of the estimate
    after = [float(np.corrcoef(noise[k], noise[k + 1])[0, 1]) for k in range(KNOTS - 1)]
    np.testing.assert_allclose(after, 0.6, atol=0.03)
    assert np.all(seen[0][:, 0] == 0.0)


def test_the_same_seed_gives_the_same_plan() -> None:
    mppi = _mppi()
    first = _improved(mppi, 3)
    later = _improved(mppi, 3)
    mppi.reset()
    again, other = _improved(mppi, 3), _improved(_mppi(seed=1001), 3)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert not np.array_equal(first.inputs, later.inputs) and not np.array_equal(first.inputs, other.inputs)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_diverge_have_no_weight(value: float) -> None:
    """Every sample with a positive first input diverges, so the mean's is not positive."""

    def advance(states: Array, inputs: Array, knot: int) -> Array:
        after = _advance(states, inputs, knot)
        return np.where((inputs > 0.0) & (knot == 0), value, after)

    def cost(states: Array, inputs: Array) -> Array:
        return np.where(np.isfinite(states).all(axis=(0, 2)), -inputs[0, :, 0], value)

    found = _improved(_mppi(advance, cost), 1)
    assert found.optimal and np.isfinite(found.inputs).all() and found.inputs[0, 0] <= 0.0
    assert found.effective < 256 / 2 + 64


def test_it_reports_that_no_sample_is_finite() -> None:
    guess = np.linspace(-1.0, 1.0, KNOTS)[:, None]
    bounds = Bounds(np.full((KNOTS, 1), -0.5), np.full((KNOTS, 1), 0.5))
    for advance in (_advance, lambda states, inputs, knot: np.full_like(states, np.nan)):
        found = _mppi(advance, lambda states, inputs: states[-1, :, 0] * np.nan).improve(START, guess, bounds)
        assert not found.optimal
        np.testing.assert_array_equal(found.inputs, np.clip(guess, -0.5, 0.5))
