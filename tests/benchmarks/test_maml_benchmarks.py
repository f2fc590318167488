# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of MAML: every contestant computes the same, and operations are counted as they are done."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from metarl_robot.benchmarks import maml_step, train
from metarl_robot.benchmarks.peers.maml import PEERS, Backward

WIDTHS = (train.INPUTS, 20, 30, 20, train.OUTPUTS)


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_all_compute_the_same_outer_gradient(peer: str) -> None:
    try:
        network = train.start(WIDTHS)
        other = train.Contestant(list(network.parameters()), PEERS[peer](network, train.STEP_SIZE))
    except ImportError as error:
        pytest.skip(str(error))
    errors = train.gradient_errors(
        {"ours": train.ours(train.start(WIDTHS)), peer: other}, WIDTHS, train.make_batches(1)[0]
    )
    assert max(errors.values()) < 1e-5


def test_an_outer_step_moves_all_weights() -> None:
    """Contestants do not merely return gradients: their weights move."""
    contestant, batches = train.ours(train.start(WIDTHS)), train.make_batches(2)
    before = [parameter.detach().clone() for parameter in contestant.parameters]
    contestant.steps(batches)(1)
    assert all((parameter != old).any() for parameter, old in zip(contestant.parameters, before, strict=True))


def test_operations_are_those_of_the_products() -> None:
    """The formula agrees with the shapes: only thin products are left."""
    counted = sum(2.0 * a.shape[0] * b.size for a, b, _ in train.own_products(WIDTHS))
    thin = train.operations(WIDTHS) - counted
    one = 2.0 * train.TASKS * train.QUERIES * train.SUPPORT
    expected = one * sum(2 * a + 3 * b for a, b in zip(WIDTHS[:-1], WIDTHS[1:], strict=True)) + one * 2 * sum(
        WIDTHS[1:-1]
    )
    assert thin == pytest.approx(expected)


def test_a_missing_peer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(network: nn.Module, step_size: float) -> Backward:
        raise ImportError("No module named 'higher'")

    monkeypatch.setattr(train, "PEERS", {"higher": absent})
    monkeypatch.setattr(train, "SQUARE", 64)
    (row,) = train._rows("case", WIDTHS, 1, 1)
    assert row.peer_us_median is None and "higher" in row.note


def test_online_step_is_that_of_autograd() -> None:
    problem = maml_step.make_problem((20, 20), 2)
    (_, mine), (_, other) = maml_step.ours(problem), maml_step.torch_autograd(problem)
    for i in range(2):
        np.testing.assert_allclose(mine(i), other(i), atol=1e-5)
    assert np.max(np.abs(mine(0) - mine(1))) > 0.1
