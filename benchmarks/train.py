# SPDX-License-Identifier: Apache-2.0
"""Benchmark of meta-training: outer steps of second-order MAML, against TorchOpt, higher and plain torch.func.

It also reports the distance to the rate of bare matrix products.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_robot.benchmarks.catalogue import Report
from metarl_robot.benchmarks.peers.maml import PEERS, Backward, Batch, perceptron, torch_func
from metarl_robot.benchmarks.record import Benchmark, Row, SameAnswer, against, missing
from metarl_robot.benchmarks.timing import Call, interleaved
from metarl_robot.learning.models.maml import Maml, TaskBatch

Array = NDArray[np.float32]

INPUTS, OUTPUTS = 49, 7
"""Sizes of the Panda's network."""
NETWORKS = {"3x64": (64, 64, 64), "3x512": (512, 512, 512)}
TASKS, SUPPORT, QUERIES = 10, 16, 16
STEP_SIZE, LEARNING_RATE = 0.05, 1e-4
SQUARE = 2048
OURS = "ours"

REMARKS = (
    f"{TASKS} tasks, {SUPPORT} + {QUERIES} samples, one inner step, {INPUTS} inputs, {OUTPUTS} outputs, float32. A "
    "step computes the outer loss and its exact second-order gradient by all weights, and applies PyTorch's fused "
    "Adam. The inner step size is fixed and the same for all.",
    "The compared answer is the outer gradient: relative 2-norm, over all weights, of its difference from the "
    "torch.func version in float64.",
    "All contestants may use all processors, ours through numpy, the peers through torch. Denormal numbers are "
    "flushed to zero. TorchOpt runs in its documented pattern (MetaSGD, task by task), and with its functional "
    "optimiser under vmap.",
    "Rates: numpy's float32 products of large squares, and of the shapes of all products with weights in one of our "
    "steps.",
)


@dataclass(frozen=True)
class Contestant:
    """Trained parameters, and the function that adds a batch's outer gradient to their `grad`."""

    parameters: list[nn.Parameter]
    backward: Backward

    def gradient(self, batch: Batch) -> Tensor:
        """The outer gradient, flat, in double precision."""
        self._start()
        self.backward(batch)
        return torch.cat(
            [parameter.grad.flatten().double() for parameter in self.parameters if parameter.grad is not None]
        )

    def steps(self, batches: list[Batch]) -> Call:
        """Call for outer steps, one batch after another."""
        optimiser = torch.optim.Adam(self.parameters, lr=LEARNING_RATE, fused=True)

        def step(i: int) -> None:
            self._start()
            self.backward(batches[i])
            optimiser.step()

        return step

    def _start(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


def run(report: Report, quick: bool) -> Benchmark:
    """Measure both networks."""
    rows: list[Row] = []
    with _all_processors():
        for done, (name, hidden) in enumerate(NETWORKS.items()):
            report("train", done, len(NETWORKS), name)
            rows += _rows(f"{name}: outer step", (INPUTS, *hidden, OUTPUTS), *((5, 2) if quick else (20, 5)))
    report("train", len(NETWORKS), len(NETWORKS))
    return Benchmark("train", tuple(rows), REMARKS)


@contextmanager
def _all_processors() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def _threads_for(contestant: str) -> Call:
    """Call that sets the number of torch's threads for a contestant.

    Ours uses numpy's threads, the peers use torch's. Both at once would compete for the processors.
    """
    count = 1 if contestant == OURS else len(os.sched_getaffinity(0))
    return lambda i: torch.set_num_threads(count)


def _rows(case: str, widths: tuple[int, ...], problems: int, repetitions: int) -> list[Row]:
    batches = make_batches(problems)
    contestants, absent = {OURS: ours(start(widths))}, {}
    for name, make in PEERS.items():
        network = start(widths)
        try:
            contestants[name] = Contestant(list(network.parameters()), make(network, STEP_SIZE))
        except ImportError as error:
            absent[name] = str(error)
    errors = gradient_errors(contestants, widths, batches[0])
    calls = {name: contestant.steps(batches) for name, contestant in contestants.items()}
    times = interleaved(calls, problems, repetitions, prepare={name: _threads_for(name) for name in calls})
    details = distance_to_limit(widths, float(np.median(times[OURS])))
    rows = []
    for name in PEERS:
        if name in absent:
            rows.append(missing(case, times[OURS], name, absent[name]))
        else:
            same = SameAnswer("relative error of the outer gradient (must be <= 1e-5)", errors[OURS], errors[name])
            rows.append(against(case, times[OURS], name, times[name], same, details=details))
    return rows


def start(widths: tuple[int, ...]) -> nn.Sequential:
    """Make the network that all contestants start from."""
    torch.manual_seed(0)
    return perceptron(widths)


def make_batches(count: int) -> list[Batch]:
    """Make seeded tasks; each has its own linear map, so that there is something to adapt to."""
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(count):
        x = rng.normal(size=(TASKS, SUPPORT + QUERIES, INPUTS)).astype(np.float32)
        y = np.tanh(
            x @ rng.normal(size=(TASKS, INPUTS, OUTPUTS)).astype(np.float32) / np.sqrt(INPUTS, dtype=np.float32)
        )
        parts = (x[:, :SUPPORT], y[:, :SUPPORT], x[:, SUPPORT:], y[:, SUPPORT:])
        batches.append(Batch(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts)))
    return batches


def ours(network: nn.Sequential) -> Contestant:
    """The module that `metarl train --adapter maml` trains."""
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    hidden = tuple(layer.out_features for layer in linear[:-1])
    model = Maml(INPUTS, OUTPUTS, hidden, 1, True, torch.Generator())
    for parameter, value in zip(model.network.parameters(), network.parameters(), strict=True):
        parameter.data.copy_(value.data)
    for log_step in model.log_step.values():
        log_step.data.fill_(np.log(STEP_SIZE))
        log_step.requires_grad_(False)
    weight = torch.ones(TASKS, SUPPORT)

    def backward(batch: Batch) -> None:
        model.loss_after(TaskBatch(batch.x, batch.y, weight, batch.query_x, batch.query_y)).mean().backward()

    return Contestant(list(model.network.parameters()), backward)


def gradient_errors(contestants: dict[str, Contestant], widths: tuple[int, ...], batch: Batch) -> dict[str, float]:
    """Relative differences of the outer gradients from the torch.func version in float64."""
    exact = start(widths).double()
    truth = Contestant(list(exact.parameters()), torch_func(exact, STEP_SIZE)).gradient(
        Batch(*(tensor.double() for tensor in batch))
    )
    return {
        name: float((contestant.gradient(batch) - truth).norm() / truth.norm())
        for name, contestant in contestants.items()
    }


def operations(widths: tuple[int, ...]) -> float:
    """Floating-point operations of the products in our outer gradient; tanh, sums and Adam are not counted.

    With B tasks, S = B N support and R = B Q query samples, P_l = in_l out_l, and Σ' the sum without the first layer:

        support   2 S [Σ P forward, Σ' P backward, 2 Σ' P adjoint of backward, Σ P + Σ' P adjoint of forward]
                  = 2 S (2 Σ P + 4 Σ' P)
        query     2 R [Σ P forward, Σ P + Σ' P adjoint] = 2 R (2 Σ P + Σ' P)
        thin      2 R N [Σ (2 in + 3 out) forward and adjoint of the steps' share, Σ' 2 in]
    """
    support, query = TASKS * SUPPORT, TASKS * QUERIES
    sizes = [entering * leaving for entering, leaving in pairwise(widths)]
    every, later = sum(sizes), sum(sizes[1:])
    thin = sum(2 * entering + 3 * leaving for entering, leaving in pairwise(widths)) + sum(
        2 * entering for entering in widths[1:-1]
    )
    return 2.0 * (support * (2 * every + 4 * later) + query * (2 * every + later) + query * SUPPORT * thin)


def distance_to_limit(widths: tuple[int, ...], step_s: float) -> dict[str, float]:
    """Compare a step's rate of operations with that of bare matrix products."""
    count, own = operations(widths), own_shapes_rate(widths)
    return {
        "MFLOP": 1e-6 * count,
        "GFLOP/s": 1e-9 * count / step_s,
        f"GFLOP/s of {SQUARE} x {SQUARE} products": 1e-9 * square_rate(),
        "GFLOP/s of products of its own shapes": 1e-9 * own,
        "percent of that": 100.0 * count / step_s / own,
    }


def square_rate() -> float:
    """Operations per second of large square products; best of three."""
    a, b, c = (np.ones((SQUARE, SQUARE), np.float32) for _ in range(3))
    return 2.0 * SQUARE**3 / min(_seconds(lambda: np.matmul(a, b, out=c)) for _ in range(3))


def own_shapes_rate(widths: tuple[int, ...]) -> float:
    """Operations per second of one step's products with weights, one after the other; median of 20 passes."""
    products = own_products(widths)
    passes = [_seconds(lambda: [np.matmul(a, b, out=c) for a, b, c in products]) for _ in range(20)]
    return sum(2.0 * a.shape[0] * b.size for a, b, _ in products) / float(np.median(passes))


def own_products(widths: tuple[int, ...]) -> list[tuple[Array, Array, Array]]:
    """Factors and result of each product with weights, all zero; see `operations`.

    Each layer's share of the derivative by its weight is one product.
    """
    rows, products = TASKS * SUPPORT, []
    for i, (entering, leaving) in enumerate(pairwise(widths)):
        forward, backward = (3, 3) if i > 0 else (2, 0)
        shapes = (
            (leaving, entering),
            (rows, entering),
            (rows, leaving),
            (forward * rows, entering),
            (forward * rows, leaving),
        )
        weight, x, y, right, left = (np.zeros(shape, np.float32) for shape in shapes)
        products += [(x, weight.T, y)] * forward + [(y, weight, x)] * backward + [(left.T, right, weight)]
    return products


def _seconds(call: Callable[[], object]) -> float:
    begin = perf_counter()
    call()
    return perf_counter() - begin
