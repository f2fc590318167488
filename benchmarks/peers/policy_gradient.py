# SPDX-License-Identifier: Apache-2.0
"""The meta-policy gradient with the usual libraries.

One inner step up the surrogate of each task's support; the objective is the mean of the queries' surrogates
(learning/policies/adaptation.py has the formulas). Each function returns a function that gives the gradient of the
objective by all parameters, flat, as `MetaObjective` has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from metarl_robot.learning.policies.sampling import Batch

Gradient = Callable[[Batch, Batch], Tensor]


class Policy(nn.Module):
    """Gaussian policy; the layers and their order are those of learning/policies/gaussian.py.

    Arguments:
        widths: of observation, hidden layers and action.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for entering, leaving in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(entering, leaving), nn.ReLU()]
        self.mean = nn.Sequential(*layers[:-1])
        self.log_std = nn.Parameter(torch.zeros(widths[-1]))

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Logarithm of the density of actions (N, m) at observations (N, n) -> (N,)."""
        error = (actions - self.mean(observations)) * torch.exp(-self.log_std)
        return (-0.5 * error.square() - self.log_std - 0.5 * math.log(2.0 * math.pi)).sum(-1)

    @property
    def in_order(self) -> list[nn.Parameter]:
        """Weights and biases of the layers, then log_std."""
        return [*self.mean.parameters(), self.log_std]


def _surrogate(log_prob: Tensor, batch: Batch) -> Tensor:
    return (torch.exp(log_prob - batch.log_prob) * batch.advantages * batch.weights).sum()


def _flat(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


def torch_func(policy: Policy, rate: float) -> Gradient:
    """Functional version with torch.func: gradient by all weights, all tasks by vmap."""

    def after(support: Batch, query: Batch) -> Tensor:
        weights = dict(policy.named_parameters())
        slope = grad(lambda theta: _surrogate(_log_prob(policy, theta, support), support))(weights)
        adapted = {name: value + rate * slope[name] for name, value in weights.items()}
        return _surrogate(_log_prob(policy, adapted, query), query)

    def gradient(support: Batch, query: Batch) -> Tensor:
        return _flat(torch.autograd.grad(vmap(after)(support, query).mean(), policy.in_order))

    return gradient


def torchopt_functional(policy: Policy, rate: float) -> Gradient:
    """TorchOpt's functional optimiser, all tasks by vmap. Raises ImportError."""
    import torchopt

    inner = torchopt.sgd(rate, maximize=True)

    def after(support: Batch, query: Batch) -> Tensor:
        weights = dict(policy.named_parameters())
        slope = grad(lambda theta: _surrogate(_log_prob(policy, theta, support), support))(weights)
        updates, _ = inner.update(slope, inner.init(weights), inplace=False)
        adapted = torchopt.apply_updates(weights, updates, inplace=False)
        return _surrogate(_log_prob(policy, adapted, query), query)

    def gradient(support: Batch, query: Batch) -> Tensor:
        return _flat(torch.autograd.grad(vmap(after)(support, query).mean(), policy.in_order))

    return gradient


def torchopt_meta_sgd(policy: Policy, rate: float) -> Gradient:
    """TorchOpt's MetaSGD on the policy itself, restored after each task. Raises ImportError."""
    import torchopt

    inner = torchopt.MetaSGD(policy, lr=rate, maximize=True)

    def gradient(support: Batch, query: Batch) -> Tensor:
        parameters = policy.in_order
        start = torchopt.extract_state_dict(policy, by="reference")
        optimiser = torchopt.extract_state_dict(inner)
        gains = []
        for task in range(len(query.weights)):
            seen, scored = (Batch(*(tensor[task] for tensor in batch)) for batch in (support, query))
            inner.step(_surrogate(policy(seen.observations, seen.actions), seen))
            gains.append(_surrogate(policy(scored.observations, scored.actions), scored))
            torchopt.recover_state_dict(policy, start)
            torchopt.recover_state_dict(inner, optimiser)
        return _flat(torch.autograd.grad(torch.stack(gains).mean(), parameters))

    return gradient


def _log_prob(policy: Policy, parameters: dict[str, Tensor], batch: Batch) -> Tensor:
    return functional_call(policy, parameters, (batch.observations, batch.actions))


PEERS: dict[str, Callable[[Policy, float], Gradient]] = {
    "TorchOpt, MetaSGD": torchopt_meta_sgd,
    "TorchOpt, functional with vmap": torchopt_functional,
    "torch.func, vmap of grad": torch_func,
}
