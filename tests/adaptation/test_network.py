# SPDX-License-Identifier: Apache-2.0
"""Networks: Jacobians equal finite differences, the compiled network equals the exact one, new weights act at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation import compiled_network
from metarl_robot.adaptation.compiled_network import CompiledPerceptron, fast_network
from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.learned_features import NetworkFeatures
from metarl_robot.adaptation.network import Network, Perceptron

Array = NDArray[np.float64]

SINGLE = 1e-5
"""Largest error of single precision, relative to the largest entry."""
SHAPES = [
    pytest.param(joints, contexts, hidden, knots, id=f"{joints} joints, {contexts} contexts, {hidden}, {knots} knots")
    for joints, contexts, hidden, knots in (
        (7, 10, (64, 64), 21),  # the Panda's
        (7, 1, (32, 32), 20),
        (7, 3, (128, 128, 128), 20),
        (7, 2, (512, 512, 512), 20),
        (2, 10, (64, 64), 5),
        (6, 4, (33, 17), 1),  # no multiple of anything
        (9, 2, (40,), 8),  # more than one panel of (q, v); one hidden layer
    )
]


def layers(joints: int, contexts: int, hidden: Sequence[int], seed: int = 0) -> tuple[list[Array], list[Array]]:
    """Weights and biases; of a size that keeps activations away from both zero and saturation."""
    rng, sizes = np.random.default_rng(seed), (3 * joints, *hidden, joints * contexts)
    weights = [
        rng.normal(size=(out, entering)) / np.sqrt(entering)
        for entering, out in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    return weights, [rng.normal(size=out) for out in sizes[1:]]


def states(joints: int, knots: int, seed: int = 1) -> Xi:
    rng = np.random.default_rng(seed)
    q, v, a, effort = rng.normal(scale=2.0, size=(4, knots, joints))
    return Xi(q, v, a, effort, np.stack([effort, effort]))


def compiled(weights: list[Array], biases: list[Array]) -> CompiledPerceptron:
    network = fast_network(weights, biases)
    if not isinstance(network, CompiledPerceptron):
        pytest.skip("no C compiler")
    return network


def assert_close(a: Array, b: Array, tolerance: float = SINGLE) -> None:
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=0.0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize(("joints", "contexts", "hidden", "knots"), SHAPES)
def test_compiled_network_is_the_exact_one(joints: int, contexts: int, hidden: tuple[int, ...], knots: int) -> None:
    numbers, xi, z = (
        layers(joints, contexts, hidden),
        states(joints, knots),
        np.random.default_rng(2).normal(size=contexts),
    )
    limit = np.linspace(1.0, 3.0, joints)
    fast, exact = NetworkFeatures(compiled(*numbers), limit), NetworkFeatures(Perceptron(*numbers), limit)
    assert_close(fast.design(xi), exact.design(xi))
    assert_close(fast.value(xi, z), exact.value(xi, z))
    assert_close(fast.jacobian(xi, z), exact.jacobian(xi, z))
    value, jacobian = fast.value_and_jacobian(xi, z)
    assert np.array_equal(value, fast.value(xi, z)) and np.array_equal(jacobian, fast.jacobian(xi, z))


@pytest.mark.parametrize("knots", [1, 2, 20])
def test_compiled_outputs_of_any_inputs(knots: int) -> None:
    """A quadrotor's network: nine inputs that are not those of joints."""
    rng = np.random.default_rng(3)
    weights, biases = layers(3, 20, (64, 64))
    x, z = rng.normal(size=(knots, 9)), rng.normal(size=20)
    assert_close(compiled(weights, biases).outputs(x), Perceptron(weights, biases).outputs(x))
    assert_close(compiled(weights, biases).contracted(x, z), Perceptron(weights, biases).contracted(x, z))


def test_exact_jacobian_is_finite_differences() -> None:
    n, step = 3, 1e-6
    xi, z = states(n, 4), np.array([0.5, -1.0])
    features = NetworkFeatures(Perceptron(*layers(n, 2, (16, 16))), np.array([1.0, 2.0, 3.0]))

    def value(move: Array) -> Array:
        return features.value(
            Xi(xi.q + move[:n], xi.v + move[n : 2 * n], xi.a + move[2 * n :], xi.effort, xi.past_effort), z
        )

    numeric = np.stack([(value(step * e) - value(-step * e)) / (2.0 * step) for e in np.eye(3 * n)], axis=2)
    np.testing.assert_allclose(features.jacobian(xi, z), numeric, atol=1e-8)
    np.testing.assert_allclose(features.design(xi) @ z, features.value(xi, z), atol=1e-12)


@pytest.mark.parametrize("make", [Perceptron, compiled])
def test_new_weights_and_context_act_at_the_next_call(make: Callable[[list[Array], list[Array]], Network]) -> None:
    """The output matches the new weights and differs from the old."""
    xi, limit, z, other_z = states(7, 20), np.full(7, 2.0), np.ones(4), np.array([1.0, -1.0, 2.0, 0.5])
    old, new = (layers(7, 4, (64, 64), seed) for seed in (0, 1))
    network = make(*old)
    features = NetworkFeatures(network, limit)
    first = features.value_and_jacobian(xi, z)
    kept = [part.copy() for part in first]
    network.load(*new)
    second, third = features.value_and_jacobian(xi, z), features.value_and_jacobian(xi, other_z)
    expected = NetworkFeatures(Perceptron(*new), limit)
    for i in range(2):
        assert_close(second[i], expected.value_and_jacobian(xi, z)[i])
        assert_close(third[i], expected.value_and_jacobian(xi, other_z)[i])
        for earlier, later in ((first[i], second[i]), (second[i], third[i])):
            assert np.abs(later - earlier).max() > 0.1 * np.abs(earlier).max()
        assert np.array_equal(first[i], kept[i]), "an earlier result was overwritten"


def test_sine_cosine_and_tanh_over_their_range() -> None:
    """One unit that sees one input alone: tanh's of it, over many orders of magnitude."""
    limit, weight = np.ones(1), np.zeros((1, 3))
    for entry, function in ((0, np.sin), (1, np.cos), (2, lambda v: v)):
        weight[:] = 0.0
        weight[0, entry] = 1.0
        network = compiled([weight, np.ones((1, 1))], [np.zeros(1), np.zeros(1)])
        x = np.concatenate([np.linspace(-30.0, 30.0, 4001), np.geomspace(1e-8, 1e4, 200), [0.0, np.pi, -np.pi / 2]])[
            :, None
        ]
        np.testing.assert_allclose(network.design(x, x, limit), np.tanh(function(x)), rtol=0.0, atol=2e-7)


def test_what_is_not_finite_is_not_hidden() -> None:
    xi = states(7, 20)
    xi.q[3, 2] = np.nan
    value, jacobian = NetworkFeatures(compiled(*layers(7, 4, (64, 64))), np.ones(7)).value_and_jacobian(xi, np.ones(4))
    assert np.all(np.isnan(value[3])) and np.all(np.isnan(jacobian[3, :, :14]))
    assert np.all(np.isfinite(np.delete(value, 3, axis=0))) and np.all(np.isfinite(np.delete(jacobian, 3, axis=0)))


def test_without_a_compiler_it_is_the_exact_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_network, "kernel", lambda room, name: None)
    assert isinstance(fast_network(*layers(2, 1, (8,))), Perceptron)
