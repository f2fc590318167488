# SPDX-License-Identifier: Apache-2.0
"""Gradients of policies: against finite differences, and against a bandit whose return is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from metarl_robot.learning.policies import score_gradient
from metarl_robot.learning.policies.adaptation import adapt
from metarl_robot.learning.policies.gaussian import GaussianPolicy, Parameters, for_tasks
from metarl_robot.learning.policies.meta_objective import MetaObjective
from metarl_robot.learning.policies.meta_parts import MetaParts
from metarl_robot.learning.policies.promp import distributions, proximal_value
from metarl_robot.learning.policies.sampling import Batch
from metarl_robot.learning.policies.trust_region import conjugate_gradient, flat, gradient_of, trust_region_step
from metarl_robot.parallel.processes import Processes

TASKS, SAMPLES = 3, 24
POLICY = GaussianPolicy(2, 2, (5,))


def parameters(seed: int) -> Parameters:
    generator = torch.Generator().manual_seed(seed)
    start = POLICY.initial(generator, 0.7)
    return [(p + 0.1 * torch.randn(p.shape, generator=generator)).double().requires_grad_() for p in start]


def batch(generator: torch.Generator, drawn_by: list[Tensor], policy: GaussianPolicy = POLICY) -> Batch:
    """Samples whose actions a policy draws; random advantages."""
    seen = torch.randn(TASKS, SAMPLES, policy.widths[0], generator=generator, dtype=torch.float64)
    with torch.no_grad():
        own = policy(drawn_by, seen)
        noise = torch.randn(own.mean.shape, generator=generator, dtype=torch.float64)
        actions = own.mean + torch.exp(own.log_std) * noise
        log_prob = own.log_prob(actions)
    gain = torch.randn(TASKS, SAMPLES, generator=generator, dtype=torch.float64)
    return Batch(seen, actions, gain, torch.full((TASKS, SAMPLES), 1.0 / SAMPLES, dtype=torch.float64), log_prob)


@pytest.fixture
def objective() -> tuple[MetaObjective, Parameters]:
    """An adaptation of two steps, and weights that differ from those that drew the samples."""
    generator = torch.Generator().manual_seed(1000)
    drawn_by = for_tasks([p.detach() for p in parameters(1)], TASKS)
    support = [batch(generator, drawn_by), batch(generator, drawn_by)]
    return MetaObjective(POLICY, support, batch(generator, drawn_by), rate=0.3), parameters(2)


def shifted(start: Parameters, direction: Tensor, by: float) -> Parameters:
    parts = torch.split(direction, [p.numel() for p in start])
    return [(p.detach() + by * d.view_as(p)).requires_grad_() for p, d in zip(start, parts, strict=True)]


def test_meta_gradient_is_that_of_finite_differences(objective: tuple[MetaObjective, Parameters]) -> None:
    meta, start = objective
    slope = meta.slope(start)[1]
    step = 1e-6
    numeric = []
    for direction in torch.eye(len(slope), dtype=torch.float64):
        up, down = (meta.value(shifted(start, direction, sign * step)).item() for sign in (1.0, -1.0))
        numeric.append((up - down) / (2.0 * step))
    np.testing.assert_allclose(slope.numpy(), numeric, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("hidden", [(5,), (6, 4), ()])
def test_the_closed_form_is_that_of_autograd(hidden: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of adaptation, samples in unequal blocks, one of them of another number of samples."""
    monkeypatch.setattr(score_gradient, "_LARGEST_BLOCK", 10)
    policy, generator = GaussianPolicy(3, 2, hidden), torch.Generator().manual_seed(1002)
    drawn_by, start = ([p.double() for p in policy.initial(generator, std)] for std in (0.7, 0.5))
    own = for_tasks(drawn_by, TASKS)
    support = [batch(generator, own, policy), batch(generator, own, policy)]
    query = Batch(*(tensor[:, :17] for tensor in batch(generator, own, policy)))
    meta = MetaObjective(policy, support, query, rate=0.3)
    value, slope = meta.slope(start)
    expected = gradient_of(meta.value)([p.requires_grad_() for p in start])
    assert value == pytest.approx(expected[0], rel=1e-12)
    torch.testing.assert_close(slope, expected[1], rtol=1e-10, atol=1e-13)


def test_the_proximal_gradient_is_the_meta_gradient_until_a_step_is_taken(
    objective: tuple[MetaObjective, Parameters],
) -> None:
    """Where the samples were drawn, no ratio is clipped and the divergence is at its minimum; far away all are."""
    meta, _ = objective
    start = parameters(1)
    own = meta.adapted(start, differentiable=False)
    with torch.no_grad():
        log_prob = POLICY(own, meta.query.observations).log_prob(meta.query.actions)
    meta = MetaObjective(POLICY, meta.support, meta.query._replace(log_prob=log_prob), meta.rate)
    with torch.no_grad():
        old = distributions(meta, start)
    found = flat(torch.autograd.grad(proximal_value(meta, start, old), start))
    torch.testing.assert_close(found, flat(torch.autograd.grad(meta.value(start), start)))
    far = meta.query._replace(log_prob=log_prob - 5.0, advantages=meta.query.advantages.abs())
    clipped = MetaObjective(POLICY, meta.support, far, meta.rate)
    still = flat(torch.autograd.grad(proximal_value(clipped, start, old), start))
    torch.testing.assert_close(still, torch.zeros_like(still))


def test_the_metric_is_the_hessian_of_the_divergence(objective: tuple[MetaObjective, Parameters]) -> None:
    """Along a vector, where the divergence from the fixed old policy is at its minimum."""
    meta, start = objective
    size = sum(p.numel() for p in start)
    vector = torch.randn(size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    slope = flat(torch.autograd.grad(meta.metric(start), start, create_graph=True))
    product = flat(torch.autograd.grad(slope @ vector, start))
    old = POLICY([p.detach() for p in meta.adapted(start)], meta.query.observations)
    step = 1e-4
    divergences = [meta.outcome(shifted(start, vector, sign * step), old)[1] for sign in (1.0, -1.0)]
    assert sum(divergences) / step**2 == pytest.approx(float(vector @ product), rel=1e-4)


def test_gradient_through_the_adaptation_is_that_of_a_bandit_in_closed_form() -> None:
    """One action a ~ N(μ, σ²), reward -(a - g)²: J = -(μ - g)² - σ². One step of size α on μ and log σ gives

        J' = -(1 - 2α)² (μ - g)² - σ² exp(-4 α σ²).

    The surrogate log π · A, whose curvature lacks the change of the samples' distribution, would give 1 - 2α instead
    of its square: 0.6 instead of 0.36 here.
    """
    bandit, count, rate, goal, std = GaussianPolicy(1, 1, ()), 400_000, 0.2, 1.5, 0.5
    generator = torch.Generator().manual_seed(1001)
    start = [torch.zeros(1, 1), torch.zeros(1), torch.full((1,), math.log(std))]
    start = [p.double().requires_grad_() for p in start]

    def samples(own: list[Tensor]) -> Batch:
        seen = torch.zeros(1, count, 1, dtype=torch.float64)
        with torch.no_grad():
            found = bandit(own, seen)
            noise = torch.randn(found.mean.shape, generator=generator, dtype=torch.float64)
            actions = found.mean + torch.exp(found.log_std) * noise
            reward = -(actions[..., 0] - goal).square()
            weights = torch.full((1, count), 1.0 / count, dtype=torch.float64)
            return Batch(seen, actions, reward - reward.mean(), weights, found.log_prob(actions))

    support = samples(for_tasks(start, 1))
    query = samples(adapt(bandit, for_tasks(start, 1), support, rate))
    value = MetaObjective(bandit, [support], query, rate).value(start)
    _, by_mean, by_log_std = (slope.item() for slope in torch.autograd.grad(value, start))
    assert by_mean == pytest.approx(2.0 * (1.0 - 2.0 * rate) ** 2 * goal, rel=0.03)
    shrunk = std**2 * math.exp(-4.0 * rate * std**2)
    assert by_log_std == pytest.approx(-shrunk * (2.0 - 8.0 * rate * std**2), rel=0.1)


def test_distributions_are_those_of_torch() -> None:
    seen = torch.randn(TASKS, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    ours = [POLICY(for_tasks(parameters(seed), TASKS), seen) for seed in (5, 6)]
    theirs = [Independent(Normal(g.mean, torch.exp(g.log_std).expand_as(g.mean)), 1) for g in ours]
    torch.testing.assert_close(ours[0].log_prob(ours[1].mean), theirs[0].log_prob(ours[1].mean))
    torch.testing.assert_close(ours[0].divergence(ours[1]), kl_divergence(*theirs))


def test_numpy_and_torch_give_the_same_mean_actions() -> None:
    own = [p.detach() for p in for_tasks(parameters(7), TASKS)]
    seen = torch.randn(TASKS, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    found = POLICY.mean([p.numpy() for p in own], seen.numpy())
    np.testing.assert_allclose(found, POLICY(own, seen).mean.numpy(), rtol=1e-12)


def test_conjugate_gradients_solve_a_positive_definite_system() -> None:
    root = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    matrix = root @ root.T + torch.eye(8, dtype=torch.float64)
    target = torch.arange(8.0, dtype=torch.float64)
    solution = conjugate_gradient(lambda vector: matrix @ vector, target)
    torch.testing.assert_close(matrix @ solution, target, rtol=0.0, atol=1e-3)


def test_a_step_stays_within_the_trust_region_and_raises_the_objective(
    objective: tuple[MetaObjective, Parameters],
) -> None:
    meta, start = objective
    old = POLICY([p.detach() for p in meta.adapted(start)], meta.query.observations)
    moved, distance = trust_region_step(
        start, gradient_of(meta.value), lambda found: meta.outcome(found, old), meta.metric, 0.01
    )
    assert 0.0 < distance <= 0.01
    value, divergence = meta.outcome(moved, old)
    assert divergence == pytest.approx(distance) and value > meta.value(start).item()


def test_groups_of_tasks_give_the_objective_and_gradient_of_all(objective: tuple[MetaObjective, Parameters]) -> None:
    """Of different sizes: two tasks and one."""
    meta, start = objective
    old = POLICY([p.detach() for p in meta.adapted(parameters(1))], meta.query.observations)
    whole, parts = (MetaParts(Processes(), meta, old, groups, 1) for groups in (1, 2))
    value, slope = gradient_of(meta.value)(start)
    for found in (whole.slope(start), parts.slope(start)):
        assert found[0] == pytest.approx(value, rel=1e-12)
        torch.testing.assert_close(found[1], slope)
    for found in (whole.outcome(start), parts.outcome(start)):
        assert found == pytest.approx(meta.outcome(start, old), rel=1e-12) and found[1] > 0.0


def test_no_step_is_taken_where_the_gradient_is_not_finite() -> None:
    start = [torch.ones(2, requires_grad=True)]
    moved, distance = trust_region_step(
        start, gradient_of(lambda p: (p[0] * math.nan).sum()), lambda p: (0.0, 0.0), lambda p: p[0].square().sum(), 0.01
    )
    assert distance == 0.0
    torch.testing.assert_close(moved[0], start[0].detach())
