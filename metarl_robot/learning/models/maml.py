# SPDX-License-Identifier: Apache-2.0
"""Model-agnostic meta-learning (Finn, Abbeel, Levine 2017) on all weights of the residual network.

    minimise over θ and log α   Σ_i L_i(θ - α ∘ ∇L_i(θ; support_i); query_i)

Second order includes the derivatives of the inner gradient exactly; first order takes ∇L_i as a constant. L is the
mean square of f_θ(x) - Δ / s over samples and joints. The support holds the residual as measured by the robot's
momentum observer. The query is noise-free and later. All tasks are computed at once (adapted_loss.py).

The baseline is plain supervised training of the same network on all tasks together, followed by the same gradient
steps at test time. It has one α, the best of a grid.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from metarl_robot.adaptation.training_data import ResidualSeries
from metarl_robot.learning.models.adapted_loss import AdaptedLoss, Memory, Parameters, Tasks
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.network import Perceptron

Array = NDArray[np.float64]
Method = Literal["second_order", "first_order", "supervised"]
METHODS: tuple[Method, ...] = ("second_order", "first_order", "supervised")

_INITIAL_STEP = 0.05
_STEP_RATE = 5.0
"""Learning rate of log α, relative to that of the weights."""
_GRID = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_GRID_TASKS = 200
_SUPPORT = (8, 32)
_QUERIES = 32


class TaskBatch(NamedTuple):
    """Samples of B tasks.

    Support: x (B, W, n_x), y (B, W, n), weight (B, W); only the last samples have weight. Query: query_x (B, Q, n_x),
    query_y (B, Q, n).
    """

    x: Tensor
    y: Tensor
    weight: Tensor
    query_x: Tensor
    query_y: Tensor


class _LossAfter(torch.autograd.Function):
    """AdaptedLoss in autograd, once differentiable.

    parameters: four equal parts: weights, biases, logarithms of the weights' step sizes, and of the biases'.
    """

    @staticmethod
    def forward(ctx: Any, model: Maml, batch: TaskBatch, *parameters: Tensor) -> Tensor:
        count = len(parameters) // 4
        theta = [parameter.numpy() for parameter in parameters[: 2 * count]]
        steps = [math.exp(parameter.item()) for parameter in parameters[2 * count :]]
        memory = model.memories.pop() if model.memories else Memory()
        tasks = Tasks(*(tensor.numpy() for tensor in batch))
        groups = Parameters(theta[:count], theta[count:], steps[:count], steps[count:])
        ctx.model, ctx.memory, ctx.loss = model, memory, AdaptedLoss(groups, tasks, model.inner_steps, memory)
        return torch.from_numpy(ctx.loss.losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_losses: Tensor) -> Any:
        slopes = ctx.loss.gradient(by_losses.numpy(), ctx.model.second_order)
        ctx.model.memories.append(ctx.memory)
        ctx.loss = ctx.memory = None
        arrays = [torch.from_numpy(array) for array in (*slopes.weights, *slopes.biases)]
        return (
            None,
            None,
            *arrays,
            *(by_losses.new_tensor(value) for value in (*slopes.weight_steps, *slopes.bias_steps)),
        )


class Maml(nn.Module):
    """A network and the step sizes of its inner gradient steps, one per tensor.

    Arguments:
        inputs, outputs, hidden: widths.
        inner_steps: gradient steps from θ to θ'.
        second_order: the outer gradient passes through the inner one.
        generator: draws the initial weights.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: tuple[int, ...],
        inner_steps: int,
        second_order: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.network = Perceptron((inputs, *hidden, outputs), torch.ones(outputs), generator)
        self.inner_steps, self.second_order = inner_steps, second_order
        names = [name for name, _ in self.network.named_parameters()]
        start = torch.tensor(_INITIAL_STEP).log()
        self.log_step = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(start.clone()) for name in names})
        self.memories: list[Memory] = []
        """Free memories, not in use by a loss."""

    def loss_after(self, batch: TaskBatch) -> Tensor:
        """Query losses (B,) after adaptation to the support."""
        layers = self.network.layers
        steps = [self.log_step[f"layers_{i}_{kind}"] for kind in ("weight", "bias") for i in range(len(layers))]
        parameters = [*(layer.weight for layer in layers), *(layer.bias for layer in layers), *steps]
        losses: Tensor = _LossAfter.apply(self, batch, *parameters)
        return losses

    def loss_before(self, batch: TaskBatch) -> Tensor:
        """Query loss of θ itself, over all tasks."""
        errors: Tensor = self.network(batch.query_x) - batch.query_y
        return errors.square().mean()

    def export(self) -> dict[str, Array]:
        """Tensors of a checkpoint: network.<i>.weight and .bias, step.<i>.weight and .bias (scalars)."""
        steps: dict[str, Array] = {}
        for name, log_step in self.log_step.items():
            _, layer, kind = name.split("_")
            steps[f"step.{layer}.{kind}"] = log_step.detach().exp().double().numpy()
        return {**self.network.export(), **steps}


class TaskSampler:
    """Draws batches, each from its own seed."""

    def __init__(self, data: ResidualSeries, horizon: int, seed: int) -> None:
        """Prepare the data. Queries are drawn from `horizon` intervals after the support."""
        self._tensors = tuple(torch.from_numpy(x) for x in (data.measured_x, data.measured_y, data.true_x, data.true_y))
        self._horizon, self._seed = horizon, seed

    def draw(self, size: int, step: int) -> TaskBatch:
        rng = np.random.default_rng([self._seed, step])
        x, y, true_x, true_y = self._tensors
        tasks, intervals, _ = x.shape
        task = rng.permutation(tasks)[:size, None]
        shortest, longest = _SUPPORT
        end = rng.integers(longest, intervals - self._horizon + 1, (len(task), 1))
        window = end - longest + np.arange(longest)
        length = rng.integers(shortest, longest + 1, (len(task), 1))
        weight = torch.as_tensor(np.arange(longest) >= longest - length, dtype=x.dtype)
        query = end + rng.integers(0, self._horizon, (len(task), _QUERIES))
        return TaskBatch(x[task, window], y[task, window], weight, true_x[task, query], true_y[task, query])


class MamlLearner:
    """MAML or its supervised baseline, and its data, for train.fit.

    Arguments:
        data: the tasks.
        horizon: of the queries [intervals].
        config: settings.
        method: training method of the network.
    """

    def __init__(self, data: ResidualSeries, horizon: int, config: TrainConfig, method: Method) -> None:
        generator = torch.Generator().manual_seed(config.seed)
        inputs, outputs = data.true_x.shape[2], data.true_y.shape[2]
        self.module = Maml(inputs, outputs, config.widths, config.inner_steps, method == "second_order", generator)
        self.in_numpy = method != "supervised"
        self._sampler, self._config, self._method = TaskSampler(data, horizon, config.seed), config, method

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"params": list(self.module.network.parameters())}]
        if self._method != "supervised":
            groups.append({"params": list(self.module.log_step.parameters()), "lr": _STEP_RATE})
        return groups

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        batch = self._sampler.draw(self._config.batch, step)
        if self._method == "supervised":
            return self.module.loss_before(batch), {}
        return self.module.loss_after(batch).mean(), {}

    def choose_step(self) -> None:
        """Supervised baseline: set the α of the grid with the least loss on training tasks."""
        batch = self._sampler.draw(_GRID_TASKS, self._config.steps)
        losses = []
        for step in _GRID:
            self._set_step(step)
            with torch.no_grad():
                losses.append(float(self.module.loss_after(batch).mean()))
        self._set_step(_GRID[int(np.nanargmin(losses))])

    def _set_step(self, step: float) -> None:
        for parameter in self.module.log_step.values():
            parameter.data.fill_(np.log(step))
