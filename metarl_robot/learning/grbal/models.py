# SPDX-License-Identifier: Apache-2.0
"""The two networks of the comparison, trained on the same windows with as many gradient steps.

    meta     minimise over θ, log α   Σ L(θ - α ∘ ∇L(θ; M transitions); K transitions after them)    (second order)
    plain    minimise over θ          Σ L(θ; all M + K transitions)

The plain one is fine-tuned in evaluation by the same gradient steps; their size and number are the best of a grid on
windows of the training data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_robot.adaptation.maml import Layers
from metarl_robot.control.adaptive_model import Scaling, Trained
from metarl_robot.core.errors import MetaRLError
from metarl_robot.learning.grbal.config import GrbalConfig
from metarl_robot.learning.grbal.windows import whole
from metarl_robot.learning.models.maml import Maml, TaskBatch
from metarl_robot.learning.policies.adam_state import adam_state, restore_adam

NETWORKS = ("meta", "plain")
FINE_TUNING_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
FINE_TUNING_STEPS = (1, 3)
_STEP_RATE = 5.0
"""Learning rate of log α, relative to that of the weights."""
_MAX_GRADIENT = 10.0

Batches = Callable[[int], TaskBatch]


class DynamicsNetworks:
    """Both networks and their optimisers."""

    def __init__(self, observations: int, actions: int, config: GrbalConfig) -> None:
        self._config = config
        sizes = observations + actions, observations, config.hidden
        generators = [torch.Generator().manual_seed(config.seed) for _ in NETWORKS]
        self.meta = Maml(*sizes, config.inner_steps, True, generators[0])
        self.plain = Maml(*sizes, config.inner_steps, True, generators[1])
        groups = [
            {"params": list(self.meta.network.parameters()), "factor": 1.0},
            {"params": list(self.meta.log_step.parameters()), "factor": _STEP_RATE},
            {"params": list(self.plain.network.parameters()), "factor": 1.0},
        ]
        self._optimiser = torch.optim.Adam(groups, lr=config.learning_rate, fused=True)

    def train(self, batches: Batches, falling: bool) -> dict[str, float]:
        """Take the gradient steps of one round; returns the mean losses of its last tenth.

        Arguments:
            batches: windows of a step.
            falling: the learning rate falls to zero along a cosine.

        Raises:
            MetaRLError: a loss is not finite.
        """
        steps = self._config.gradient_steps
        losses = [
            self._step(batches(k), 0.5 * (1.0 + math.cos(math.pi * k / steps)) if falling else 1.0)
            for k in range(steps)
        ]
        last = np.mean(losses[-max(1, steps // 10) :], axis=0)
        return {"loss_meta": float(last[0]), "loss_plain": float(last[1])}

    def _step(self, batch: TaskBatch, share: float) -> tuple[float, float]:
        for group in self._optimiser.param_groups:
            group["lr"] = share * group["factor"] * self._config.learning_rate
        meta, plain = self.meta.loss_after(batch).mean(), self.plain.loss_before(whole(batch))
        if not torch.isfinite(meta + plain):
            raise MetaRLError(
                f"training: a loss is not finite; try a smaller --learning-rate than {self._config.learning_rate}"
            )
        self._optimiser.zero_grad()
        (meta + plain).backward()
        for model in (self.meta, self.plain):  # apart: neither's gradient shortens the other's
            nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT)
        self._optimiser.step()
        return float(meta.detach()), float(plain.detach())

    def tune_plain(self, batch: TaskBatch) -> tuple[float, int]:
        """Set step size and number of steps of the fine-tuning to the best of the grid on these windows."""
        losses = {}
        for rate, steps in product(FINE_TUNING_RATES, FINE_TUNING_STEPS):
            self._set_plain(rate, steps)
            with torch.no_grad():
                losses[rate, steps] = float(self.plain.loss_after(batch).mean())
        best = min(losses, key=lambda key: losses[key] if math.isfinite(losses[key]) else math.inf)
        self._set_plain(*best)
        return best

    def _set_plain(self, rate: float, steps: int) -> None:
        self.plain.inner_steps = steps
        for parameter in self.plain.log_step.values():
            parameter.data.fill_(math.log(rate))

    def trained(self, network: str, scaling: Scaling, adapts: bool = True) -> Trained:
        """A network as the online model takes it."""
        model: Maml = getattr(self, network)
        return trained_of(model.export(), model.inner_steps if adapts else 0, scaling)

    def export(self) -> dict[str, NDArray[np.float32]]:
        """Tensors of both: <network>.network.<i>.weight, <network>.step.<i>.weight …"""
        return {
            f"{name}.{key}": np.asarray(value, dtype=np.float32)
            for name in NETWORKS
            for key, value in getattr(self, name).export().items()
        }

    def state(self) -> dict[str, Tensor]:
        """All that a round changes."""
        return adam_state(self._optimiser, self._named())

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a state."""
        restore_adam(self._optimiser, self._named(), state)

    def _named(self) -> dict[str, Tensor]:
        groups = {"meta": self.meta, "plain": self.plain.network}
        return {f"{name}.{key}": value for name, model in groups.items() for key, value in model.named_parameters()}


def trained_of(tensors: dict[str, NDArray[np.float64]], steps: int, scaling: Scaling) -> Trained:
    """The online model of exported tensors network.<i>.* and step.<i>.*."""
    count = sum(name.startswith("network.") for name in tensors) // 2

    def layers(group: str) -> Layers:
        weights, biases = ([tensors[f"{group}.{i}.{kind}"] for i in range(count)] for kind in ("weight", "bias"))
        return Layers(weights, biases)

    return Trained(layers("network"), layers("step"), steps, scaling)
