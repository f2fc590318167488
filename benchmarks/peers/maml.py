# SPDX-License-Identifier: Apache-2.0
"""Second-order MAML with the usual libraries.

One inner gradient step on the mean square error of each task's support; the outer loss is the mean of the queries' mean
square errors. Each function returns a function that adds a batch's outer gradient to the `grad` of the network's
parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import mse_loss


class Batch(NamedTuple):
    """B tasks: support x (B, N, n_x), y (B, N, n), query x (B, Q, n_x), y (B, Q, n)."""

    x: Tensor
    y: Tensor
    query_x: Tensor
    query_y: Tensor


Backward = Callable[[Batch], None]


def perceptron(widths: tuple[int, ...]) -> nn.Sequential:
    """Perceptron with tanh between layers and a linear output."""
    layers: list[nn.Module] = []
    for entering, leaving in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(entering, leaving), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def torch_func(network: nn.Module, step_size: float) -> Backward:
    """Functional version with torch.func: gradient by all weights, all tasks by vmap."""

    def after(x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
        weights = dict(network.named_parameters())
        slope = grad(lambda theta: mse_loss(functional_call(network, theta, (x,)), y))(weights)
        adapted = {name: value - step_size * slope[name] for name, value in weights.items()}
        return mse_loss(functional_call(network, adapted, (query_x,)), query_y)

    def backward(batch: Batch) -> None:
        vmap(after)(*batch).mean().backward()

    return backward


def higher_loop(network: nn.Module, step_size: float) -> Backward:
    """Pattern of `higher`: a differentiable copy for each task, gradients added up. Raises ImportError."""
    import higher

    inner = torch.optim.SGD(network.parameters(), lr=step_size)

    def backward(batch: Batch) -> None:
        for x, y, query_x, query_y in zip(*batch, strict=True):
            with higher.innerloop_ctx(network, inner, copy_initial_weights=False) as (adapted, steps):
                steps.step(mse_loss(adapted(x), y))
                (mse_loss(adapted(query_x), query_y) / len(batch.x)).backward()

    return backward


def torchopt_meta_sgd(network: nn.Module, step_size: float) -> Backward:
    """TorchOpt's MetaSGD on the network itself, restored after each task. Raises ImportError."""
    import torchopt

    inner = torchopt.MetaSGD(network, lr=step_size)
    parameters = list(network.parameters())

    def backward(batch: Batch) -> None:
        start = torchopt.extract_state_dict(network, by="reference")
        optimiser = torchopt.extract_state_dict(inner)
        losses = []
        for x, y, query_x, query_y in zip(*batch, strict=True):
            inner.step(mse_loss(network(x), y))
            losses.append(mse_loss(network(query_x), query_y))
            torchopt.recover_state_dict(network, start)
            torchopt.recover_state_dict(inner, optimiser)
        torch.stack(losses).mean().backward(inputs=parameters)

    return backward


def torchopt_functional(network: nn.Module, step_size: float) -> Backward:
    """TorchOpt's functional optimiser, all tasks by vmap. Raises ImportError."""
    import torchopt

    inner = torchopt.sgd(step_size)

    def after(x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
        weights = dict(network.named_parameters())
        slope = grad(lambda theta: mse_loss(functional_call(network, theta, (x,)), y))(weights)
        updates, _ = inner.update(slope, inner.init(weights), inplace=False)
        adapted = torchopt.apply_updates(weights, updates, inplace=False)
        return mse_loss(functional_call(network, adapted, (query_x,)), query_y)

    def backward(batch: Batch) -> None:
        vmap(after)(*batch).mean().backward()

    return backward


PEERS: dict[str, Callable[[nn.Module, float], Backward]] = {
    "TorchOpt, MetaSGD": torchopt_meta_sgd,
    "TorchOpt, functional with vmap": torchopt_functional,
    "higher": higher_loop,
    "torch.func, vmap of grad": torch_func,
}
