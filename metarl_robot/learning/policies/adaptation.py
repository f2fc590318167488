# SPDX-License-Identifier: Apache-2.0
"""Adaptation of a policy to a task by policy gradient steps that can be differentiated.

With the advantages A and the policy π_old that drew the samples, the surrogate of a task is

    J(θ) = mean over samples of  π_θ(a | s) / π_old(a | s) · A          θ' = θ + α ∇J(θ)

Its gradient at θ_old is the policy gradient. Its Hessian there, mean of (∇² log π + ∇ log π ∇ log πᵀ) A, is the
low-variance curvature estimator (LVC) of Rothfuss, Lee, Clavera, Asfour, Abbeel (2019, ProMP, section 5), so the
gradient through the adaptation has the right curvature. The logarithm log π · A of the first MAML code lacks the second
term and therefore the influence of θ on the samples (Foerster et al. 2018, DiCE; Al-Shedivat et al. 2018). DiCE's own
surrogate is unbiased, but multiplies the ratios along the episode: its variance grows with the horizon.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metarl_robot.learning.policies.gaussian import Gaussian, GaussianPolicy, Parameters
from metarl_robot.learning.policies.sampling import Batch


def surrogate(policy: GaussianPolicy, parameters: Sequence[Tensor], batch: Batch) -> Tensor:
    """J of each task (B,)."""
    return surrogate_of(policy(parameters, batch.observations), batch)


def surrogate_of(found: Gaussian, batch: Batch) -> Tensor:
    """J of each task (B,) under these distributions at the batch's observations."""
    ratio = torch.exp(found.log_prob(batch.actions) - batch.log_prob)
    return (ratio * batch.advantages * batch.weights).sum(-1)


def adapt(
    policy: GaussianPolicy, parameters: Sequence[Tensor], batch: Batch, rate: float, differentiable: bool = False
) -> Parameters:
    """One gradient step of each task; parameters have a leading dimension of tasks.

    Arguments:
        differentiable: the result keeps the graph of its derivative by `parameters`.
    """
    start = list(parameters) if differentiable else [p.detach().requires_grad_() for p in parameters]
    slopes = torch.autograd.grad(surrogate(policy, start, batch).sum(), start, create_graph=differentiable)
    adapted = [p + rate * slope for p, slope in zip(start, slopes, strict=True)]
    return adapted if differentiable else [p.detach() for p in adapted]


def rate_of(step: int, first: float) -> float:
    """Step size of a gradient step: later ones have half that of the first, as published."""
    return first if step == 0 else 0.5 * first
