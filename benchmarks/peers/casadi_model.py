# SPDX-License-Identifier: Apache-2.0
"""The network as a CasADi graph with CasADi's Jacobian, mapped over the knots.

It runs in CasADi's virtual machine or as compiled C.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.benchmarks.model_problem import KNOTS, Layers, Problem

Array = NDArray[np.float64]


class CasadiModel:
    """Model with a graph of matrix operations ('MX') or scalar ones ('SX').

    Arguments:
        folder: for the compiled C code (gcc -O3 -march=native; -O1 for SX: code without loops). None: the virtual
            machine.
    """

    def __init__(self, problem: Problem, graph: str, folder: Path | None = None) -> None:
        self._plans = np.concatenate([problem.q, problem.v], axis=2)
        joints = problem.q.shape[2]
        function = _function(problem.layers.contracted(problem.z), problem.velocity_limit, graph).map(KNOTS)
        if folder is not None:
            function = _compiled(function, folder, "-O1" if graph == "SX" else "-O3")
        self._buffer, self._evaluate = function.buffer()
        self._x, self._value, self._jacobian = (
            np.zeros((KNOTS, 2 * joints)),
            np.zeros((KNOTS, joints)),
            np.zeros((KNOTS, 2 * joints, joints)),
        )
        self._buffer.set_arg(0, self._x.data)
        self._buffer.set_res(0, self._value.data)
        self._buffer.set_res(1, self._jacobian.data)

    def evaluate(self, plan: int) -> None:
        self._x[:] = self._plans[plan]
        self._evaluate()

    def answer(self, plan: int) -> tuple[Array, Array]:
        self.evaluate(plan)
        return self._value.copy(), self._jacobian.transpose(0, 2, 1).copy()


def _function(layers: Layers, velocity_limit: Array, graph: str) -> ca.Function:
    kind, n = {"MX": ca.MX, "SX": ca.SX}[graph], len(velocity_limit)
    x = kind.sym("x", 2 * n)
    y = ca.vertcat(ca.sin(x[:n]), ca.cos(x[:n]), x[n:] / ca.DM(velocity_limit))
    for weight, bias in zip(layers.weights[:-1], layers.biases[:-1], strict=True):
        y = ca.tanh(kind(ca.DM(weight)) @ y + ca.DM(bias))
    y = kind(ca.DM(layers.weights[-1])) @ y + ca.DM(layers.biases[-1])
    return ca.Function("model", [x], [y, ca.densify(ca.jacobian(y, x))])


def _compiled(function: ca.Function, folder: Path, level: str) -> ca.Function:
    folder.mkdir()
    generator = ca.CodeGenerator("model.c")
    generator.add(function)
    generator.generate(f"{folder}/")
    library = folder / "model.so"
    flags = [level, "-march=native", "-fPIC", "-shared"]
    subprocess.run(
        ["gcc", *flags, str(folder / "model.c"), "-o", str(library), "-lm"], check=True, capture_output=True, timeout=60
    )
    return ca.external(function.name(), str(library))
