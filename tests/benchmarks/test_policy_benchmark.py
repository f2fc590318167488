# SPDX-License-Identifier: Apache-2.0
"""Benchmark of the meta-policy gradient: every contestant computes the same."""

from __future__ import annotations

import pytest

from metarl_robot.benchmarks import policy
from metarl_robot.benchmarks.peers.policy_gradient import PEERS
from metarl_robot.learning.policies.config import PolicyConfig


@pytest.fixture(scope="module")
def problem() -> policy.Problem:
    return policy.make_problem("point-navigation", PolicyConfig(tasks=3, episodes=2, hidden=(16, 16)))


@pytest.mark.parametrize("peer", PEERS)
def test_all_compute_the_same_outer_gradient(problem: policy.Problem, peer: str) -> None:
    try:
        other = PEERS[peer](policy.peer_policy(problem), problem.rate)
    except ImportError as error:
        pytest.skip(str(error))
    assert max(policy.gradient_errors({"ours": policy.ours(problem), peer: other}, problem).values()) < 1e-5


def test_a_gradient_with_another_inner_step_is_another_answer(problem: policy.Problem) -> None:
    other = PEERS["torch.func, vmap of grad"](policy.peer_policy(problem), 0.5 * problem.rate)
    assert policy.gradient_errors({"other": other}, problem)["other"] > 1e-2
