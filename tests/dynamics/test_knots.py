# SPDX-License-Identifier: Apache-2.0
"""Code written out for lanes against CasADi's own machine."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

from metarl_robot.compile import code_cache, compiler, knots
from metarl_robot.compile.knots import AnyNumber, Knots, compile_knots, in_chunks

X, Y, P = ca.SX.sym("x", 3), ca.SX.sym("y", 2), ca.SX.sym("p", 2)
RNG = np.random.default_rng(0)


def everything() -> ca.Function:
    """Every operation that can be written out; a matrix and a column as outputs, an entry that is constant, one that is
    copied.
    """
    ones = [
        ca.sqrt(X[0] + 2),
        ca.sin(X[1]),
        ca.cos(X[1]),
        ca.exp(X[2]),
        ca.tanh(X[2]),
        ca.fabs(X[0] - 0.5),
        ca.log(X[0] + 2),
    ]
    ones += [
        ca.acos(0.5 * X[0]),
        ca.asin(0.5 * X[0]),
        ca.atan(X[1]),
        ca.sign(X[2] - 0.5),
        -X[0],
        X[1] ** 2,
        2 * X[1],
        1 / (X[0] + 2),
    ]
    twos = [
        X[0] / (Y[0] + 2),
        ca.atan2(X[0], Y[1]),
        ca.fmin(X[0], Y[0]),
        ca.fmax(X[0], Y[0]),
        ca.if_else(X[0] < Y[0], X[1], Y[1]),
    ]
    twos += [ca.if_else(X[0] <= Y[0], 1, 2) * P[0], ca.logic_not(X[0] < Y[0]), X[0] == X[0], P[0] - P[1] * X[2]]
    matrix = ca.densify(ca.horzcat(X, ca.vertcat(Y, 3.0), ca.vertcat(P, X[0])))
    return ca.Function("everything", [X, Y, P], [ca.vertcat(*ones, *twos), matrix])


def arguments(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return RNG.uniform(0.0, 1.0, (count, 3)), RNG.uniform(0.0, 1.0, (count, 2)), RNG.uniform(0.0, 1.0, 2)


@pytest.mark.parametrize("count", [1, 7, 8, 21])
@pytest.mark.parametrize("part", [5, 100_000])
def test_every_operation_is_casadis(count: int, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knots, "_PART", part)  # cut into parts, and whole
    function = everything()
    x, y, p = arguments(count)
    columns, matrices = compile_knots({"f": Knots(function, count, shared=(2,))})["f"](x, y, p)
    assert columns.shape == (count, 24) and matrices.shape == (count, 3, 3)
    for k in range(count):
        column, matrix = (np.array(value) for value in function(x[k], y[k], p))
        assert np.allclose(columns[k], column[:, 0], rtol=1e-14, atol=1e-15)
        assert np.array_equal(matrices[k], matrix)


def test_without_a_compiler_the_results_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"f": Knots(everything(), 5, shared=(2,))}
    given = arguments(5)
    fast = [x.copy() for x in compile_knots(wanted)["f"](*given)]
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    monkeypatch.setattr(code_cache, "_said", {"compiler"})
    slow = compile_knots(wanted)["f"](*given)
    assert all(np.allclose(a, b, rtol=1e-14, atol=1e-15) for a, b in zip(fast, slow, strict=True))


def test_any_number_of_rows_goes_through_in_chunks() -> None:
    function = compile_knots({"f": Knots(ca.Function("f", [X, Y], [ca.sin(X) * Y[0], X @ Y.T]), 8)})["f"]
    for count in (1, 8, 19):
        x, y, _ = arguments(count)
        column, matrix = in_chunks(function, 8, x, y)
        assert np.allclose(column, np.sin(x) * y[:, :1]) and np.allclose(matrix, x[:, :, None] * y[:, None, :])


def test_few_rows_or_many_give_the_same_and_what_is_shared_is() -> None:
    x, p = ca.SX.sym("x", 2), ca.SX.sym("p", 3)
    function = AnyNumber(ca.Function("f", [x, p], [ca.sin(x[0]) * p, x[1] * x]))
    rng = np.random.default_rng(1)
    rows, shared = rng.normal(size=(500, 2)), rng.normal(size=3)
    expected = np.sin(rows[:, :1]) * shared, rows[:, 1:] * rows
    for count in (1, 24, 25, 48, 49, 192, 193, 500):
        for mine, other in zip(function(rows[:count], shared), expected, strict=True):
            np.testing.assert_allclose(mine, other[:count], rtol=1e-14)


def test_an_operation_that_is_not_written_out_is_named() -> None:
    with pytest.raises(NotImplementedError, match="knots.py"):
        compile_knots({"f": Knots(ca.Function("f", [X], [ca.erf(X)]), 3)})
