# SPDX-License-Identifier: Apache-2.0
"""One gradient step of the online MAML adapter, against the same step in PyTorch.

`metarl bench adapt` shows its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.maml import AdaptedNetwork, Layers
from metarl_robot.benchmarks.catalogue import Report
from metarl_robot.benchmarks.record import Row, SameAnswer, against, missing
from metarl_robot.benchmarks.timing import interleaved

Array = NDArray[np.float64]
Call = Callable[[int], Array]

INPUTS, OUTPUTS = 49, 7
"""Sizes of the Panda's network."""
SAMPLES, KNOTS = 16, 20
STEP_SIZE = 0.05
HIDDEN = {"3x64": (64, 64, 64), "3x512": (512, 512, 512)}
PEER = "PyTorch autograd"


@dataclass(frozen=True)
class Problem:
    """Trained layers and P problems.

    x (P, N, n_x), target (P, N, n): samples of the step. knots (P, K, n_x): inputs of the prediction.
    """

    layers: Layers
    x: Array
    target: Array
    knots: Array


def maml_rows(report: Report, quick: bool) -> list[Row]:
    """Rows for each network: the step alone, and the step with the adapted prediction at all knots of a horizon."""
    count, repetitions = (50, 2) if quick else (200, 5)
    rows: list[Row] = []
    for done, (name, hidden) in enumerate(HIDDEN.items()):
        report("maml step", done, len(HIDDEN), name)
        problem = make_problem(hidden, count)
        rows += _rows(name, problem, count, repetitions)
    report("maml step", len(HIDDEN), len(HIDDEN))
    return rows


def make_problem(hidden: tuple[int, ...], count: int) -> Problem:
    """Make a seeded network of these widths, and `count` problems."""
    rng = np.random.default_rng(0)
    widths = (INPUTS, *hidden, OUTPUTS)
    weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in zip(widths[:-1], widths[1:], strict=True)]
    layers = Layers(weights, [0.1 * rng.normal(size=b) for b in widths[1:]])
    x, target = rng.normal(size=(count, SAMPLES, INPUTS)), rng.normal(size=(count, SAMPLES, OUTPUTS))
    return Problem(layers, x, target, rng.normal(size=(count, KNOTS, INPUTS)))


def _rows(name: str, problem: Problem, count: int, repetitions: int) -> list[Row]:
    ours_step, ours_predict = ours(problem)
    cases = (f"maml, {name}: step on {SAMPLES} samples", f"maml, {name}: step and prediction at {KNOTS} knots")
    try:
        peer_step, peer_predict = torch_autograd(problem)
    except ImportError as error:
        alone = interleaved({"step": ours_step, "predict": ours_predict}, count, repetitions)
        return [
            missing(case, alone[key], PEER, str(error)) for case, key in zip(cases, ("step", "predict"), strict=True)
        ]
    rows = []
    same = _same_answer(ours_predict, peer_predict, count)
    for case, mine, other in ((cases[0], ours_step, peer_step), (cases[1], ours_predict, peer_predict)):
        times = interleaved({"ours": mine, PEER: other}, count, repetitions)
        rows.append(against(case, times["ours"], PEER, times[PEER], same))
    return rows


def ours(problem: Problem) -> tuple[Callable[[int], object], Call]:
    """The adapter's step on problem i, and the step with the prediction."""
    trained = AdaptedNetwork.trained(problem.layers)
    sizes = Layers(
        [np.array(STEP_SIZE)] * len(problem.layers.weights), [np.array(STEP_SIZE)] * len(problem.layers.biases)
    )

    def step(i: int) -> AdaptedNetwork:
        return trained.stepped(sizes, problem.x[i], problem.target[i])

    return step, lambda i: step(i).predict(problem.knots[i])


def torch_autograd(problem: Problem) -> tuple[Callable[[int], object], Call]:
    """The same in plain PyTorch: float32, gradient by autograd, all weights formed. Raises ImportError."""
    import torch
    from torch import Tensor

    weights = [torch.tensor(w, dtype=torch.float32, requires_grad=True) for w in problem.layers.weights]
    biases = [torch.tensor(b, dtype=torch.float32, requires_grad=True) for b in problem.layers.biases]
    x, target, knots = (
        torch.tensor(array, dtype=torch.float32) for array in (problem.x, problem.target, problem.knots)
    )

    def network(parameters: list[Tensor], entering: Tensor) -> Tensor:
        half = len(parameters) // 2
        for weight, bias in zip(parameters[: half - 1], parameters[half:-1], strict=True):
            entering = torch.tanh(torch.nn.functional.linear(entering, weight, bias))
        return torch.nn.functional.linear(entering, parameters[half - 1], parameters[-1])

    def step(i: int) -> list[Tensor]:
        parameters = [*weights, *biases]
        loss = torch.nn.functional.mse_loss(network(parameters, x[i]), target[i])
        slopes = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            return [value - STEP_SIZE * slope for value, slope in zip(parameters, slopes, strict=True)]

    def predict(i: int) -> Array:
        changed = step(i)
        with torch.no_grad():
            return network(changed, knots[i]).numpy().astype(np.float64)

    return step, predict


def _same_answer(mine: Call, other: Call, count: int) -> SameAnswer:
    """Compare the adapted predictions of all problems: their RMS, and the largest difference."""
    predictions = [(mine(i), other(i)) for i in range(count)]
    difference = max(float(np.abs(a - b).max()) for a, b in predictions)
    sizes = [float(np.sqrt(np.mean(np.square(values)))) for values in zip(*predictions, strict=True)]
    return SameAnswer(f"RMS of the adapted prediction (largest difference {difference:.1g})", *sizes)
