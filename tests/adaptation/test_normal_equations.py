# SPDX-License-Identifier: Apache-2.0
"""Normal equations in C and in numpy: the same numbers, which are those of weighted least squares with a prior."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.normal_equations import CompiledNormalEquations, NormalEquations, normal_equations

Array = NDArray[np.float64]

JOINTS, PRIORS, SIZE, KEEP = 3, 4, 11, 0.99


def _filled(compiled: bool, mean: Array) -> tuple[NormalEquations, Array, Array, Array]:
    """Equations of 20 cells, and their rows (20, n, m), forces and weights (20, n). mean: (C, m) of the priors."""
    rng = np.random.default_rng(1000)
    root = rng.normal(size=(PRIORS, SIZE, SIZE))
    information = root @ root.transpose(0, 2, 1) + np.eye(SIZE)
    made = normal_equations(information, np.einsum("cij,cj->ci", information, mean), JOINTS, compiled)
    rows, force = rng.normal(size=(20, JOINTS, SIZE)), rng.normal(size=(20, JOINTS))
    weight = rng.uniform(0.1, 1.0, (20, JOINTS))
    for cell in zip(rows, force, weight, strict=True):
        made.add(*cell, KEEP)
    return made, rows, force, weight


@pytest.mark.parametrize("compiled", [False, True])
def test_solutions_minimise_the_weighted_squares_and_the_distance_from_the_prior(compiled: bool) -> None:
    rng = np.random.default_rng(1001)
    mean, precision = rng.normal(size=(PRIORS, SIZE)), rng.uniform(1.0, 9.0, (PRIORS, JOINTS))
    made, rows, force, weight = _filled(compiled, mean)
    assert isinstance(made, CompiledNormalEquations) == compiled
    means, log_det, fitted = made.solve(precision)
    aged = weight * KEEP ** np.arange(19, -1, -1)[:, None]
    for c in range(PRIORS):
        shares = aged * precision[c]
        gradient = np.einsum("tj,tjm,tj->m", shares, rows, rows @ means[c] - force)
        matrix = np.einsum("tj,tjm,tjl->ml", shares, rows, rows) + made._information[c]
        np.testing.assert_allclose(gradient, made._information[c] @ (mean[c] - means[c]), atol=1e-9)
        assert log_det[c] == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-12)
        np.testing.assert_allclose(fitted[c], (aged * (rows @ means[c]) ** 2).sum(axis=0), rtol=1e-10)


def test_equations_without_a_positive_definite_matrix_are_solved_as_any_other() -> None:
    information = np.diag([1.0, -2.0])[None]
    for compiled in (False, True):
        means, log_det, _ = normal_equations(information, np.ones((1, 2)), 1, compiled).solve(np.zeros((1, 1)))
        np.testing.assert_allclose(means, [[1.0, -0.5]])
        assert log_det[0] == pytest.approx(np.log(2.0))


def test_forgotten_cells_count_no_more() -> None:
    mean = np.arange(PRIORS * SIZE, dtype=np.float64).reshape(PRIORS, SIZE)
    made = _filled(True, mean)[0]
    made.forget()
    means, _, fitted = made.solve(np.ones((PRIORS, JOINTS)))
    np.testing.assert_allclose(means, mean, atol=1e-8)  # up to 43
    np.testing.assert_array_equal(fitted, 0.0)
