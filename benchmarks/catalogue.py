# SPDX-License-Identifier: Apache-2.0
"""All benchmarks by name. Each is a module with `run(report, quick) -> Benchmark`, imported on demand."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from metarl_robot.benchmarks.record import Benchmark
from metarl_robot.core.errors import UnknownNameError


class Report(Protocol):
    """Receives the progress of a benchmark."""

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None: ...


class Runner(Protocol):
    """A benchmark's entry point."""

    def __call__(self, report: Report, quick: bool) -> Benchmark:
        """Run the benchmark.

        quick: fewer problems and repetitions, as a check that everything runs; its timings are rough.
        """
        ...


BENCHMARKS = {
    "mpc": "one step of the controllers, against CasADi's solvers, do-mpc and acados",
    "mppi": "one iteration of path integral control, against the same in plain numpy",
    "model": "the learned model's value and Jacobian inside the solver, against L4CasADi and CasADi's expansion",
    "adapt": "one update of the adapters",
    "policy": "the gradient of maml_pg, against TorchOpt and torch.func",
    "train": "second-order MAML, against TorchOpt, higher and torch.func",
    "sim": "collecting data with randomised tasks, against the raw engine",
    "ros": "the loop of nodes in real time: latency, jitter, missed deadlines, processor time",
    "scale": "cost against horizon, joints, network width and number of tasks",
}


def runner(name: str) -> Runner:
    """A benchmark by name. Raises UnknownNameError."""
    if name not in BENCHMARKS:
        raise UnknownNameError("benchmark", name, tuple(BENCHMARKS))
    found: Runner = import_module(f"metarl_robot.benchmarks.{name}").run
    return found
