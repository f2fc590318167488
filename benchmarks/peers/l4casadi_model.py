# SPDX-License-Identifier: Apache-2.0
"""The network as a PyTorch module in L4CasADi (Salzmann et al., "Learning for CasADi", L4DC 2024).

L4CasADi uses single precision.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import casadi as ca
import l4casadi
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from metarl_robot.benchmarks.model_problem import KNOTS, Layers, Problem

Array = NDArray[np.float64]


class L4CasadiModel:
    """Model, called through CasADi's buffers without conversions.

    Arguments:
        folder: for its compiled code.
        batched: all knots as one batch, its documented fast way; otherwise one call a knot, mapped by CasADi.
        mutable: the weights can be changed.
    """

    def __init__(self, problem: Problem, folder: Path, batched: bool, mutable: bool = False) -> None:
        torch.set_num_threads(1)
        self._problem, self._batched = problem, batched
        self._plans = np.concatenate([problem.q, problem.v], axis=2)
        self._joints = problem.q.shape[2]
        rows, columns = KNOTS if batched else 1, 2 * self._joints
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's TorchScript
            self._model = l4casadi.L4CasADi(
                _Module(problem.layers.contracted(problem.z), problem.velocity_limit), name="model",
                build_dir=str(folder), batched=batched,
                generate_adj1=False, generate_jac_adj1=False, mutable=mutable,
            )  # fmt: skip
            x = ca.MX.sym("x", rows, columns)
            y = self._model(x)
            function = ca.Function("values_and_jacobian", [x], [y, ca.jacobian(y, x)])
        if not batched:
            function = function.map(KNOTS)
        self._sparsity = function.sparsity_out(1)
        self._x = np.zeros((columns, KNOTS) if batched else (KNOTS, columns))
        self._value, self._nonzeros = np.zeros(KNOTS * self._joints), np.zeros(self._sparsity.nnz())
        self._buffer, self._evaluate = function.buffer()
        self._buffer.set_arg(0, self._x.data)
        self._buffer.set_res(0, self._value.data)
        self._buffer.set_res(1, self._nonzeros.data)

    def evaluate(self, plan: int) -> None:
        self._x[:] = self._plans[plan].T if self._batched else self._plans[plan]
        self._evaluate()

    def answer(self, plan: int) -> tuple[Array, Array]:
        self.evaluate(plan)
        n = self._joints
        if not self._batched:
            return self._value.reshape(KNOTS, n).copy(), self._nonzeros.reshape(KNOTS, 2 * n, n).transpose(
                0, 2, 1
            ).copy()
        dense = np.array(ca.DM(self._sparsity, self._nonzeros)).reshape(n, KNOTS, 2 * n, KNOTS)
        return self._value.reshape(n, KNOTS).T.copy(), np.einsum("ikjk->kij", dense).copy()

    def change(self, layers: Layers) -> None:
        """Change the weights; they are in effect when this returns."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model.update(_Module(layers.contracted(self._problem.z), self._problem.velocity_limit))


class _Module(nn.Module):
    """The network as a function of (q, v), (…, 2n)."""

    def __init__(self, layers: Layers, velocity_limit: Array) -> None:
        super().__init__()
        self._limit = torch.as_tensor(velocity_limit, dtype=torch.float32)
        self._layers = nn.ModuleList()
        for weight, bias in zip(layers.weights, layers.biases, strict=True):
            linear = nn.Linear(*weight.shape[::-1])
            linear.weight.data, linear.bias.data = (torch.as_tensor(x, dtype=torch.float32) for x in (weight, bias))
            self._layers.append(linear)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        n = len(self._limit)
        q, v = state[..., :n], state[..., n:]
        x = torch.cat([torch.sin(q), torch.cos(q), v / self._limit], dim=-1)
        for layer in self._layers[:-1]:
            x = torch.tanh(layer(x))
        y: torch.Tensor = self._layers[-1](x)
        return y
