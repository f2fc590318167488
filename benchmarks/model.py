# SPDX-License-Identifier: Apache-2.0
"""Benchmark of the learned model inside the solver: value and Jacobian at 20 knots.

Peers are L4CasADi, and CasADi's expansion of the network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.compiled_network import fast_network
from metarl_robot.benchmarks.catalogue import Report
from metarl_robot.benchmarks.model_problem import KNOTS, Model, Problem, problem, relative_error
from metarl_robot.benchmarks.peers.casadi_model import CasadiModel
from metarl_robot.benchmarks.record import Benchmark, Row, SameAnswer, against, missing
from metarl_robot.benchmarks.timing import interleaved

if TYPE_CHECKING:
    from metarl_robot.benchmarks.peers.l4casadi_model import L4CasadiModel

Array = NDArray[np.float64]

SIZES = ((2, 32), (3, 64), (3, 128), (3, 512))
METRIC = "error of value or Jacobian, of the largest entry"
Build = Callable[[Path], Model]


class Ours:
    """The network as the controllers call it; a Model."""

    def __init__(self, at: Problem) -> None:
        self._at = at
        self.network = fast_network(at.layers.weights, at.layers.biases)

    def evaluate(self, plan: int) -> tuple[Array, Array]:
        at = self._at
        return self.network.value_and_jacobian(at.q[plan], at.v[plan], at.velocity_limit, at.z)

    def answer(self, plan: int) -> tuple[Array, Array]:
        value, jacobian = self.evaluate(plan)
        return value, jacobian[:, :, : 2 * value.shape[1]]


def run(report: Report, quick: bool) -> Benchmark:
    """Measure every size against every peer that can run it, then a change of weights."""
    rows: list[Row] = []
    rate = _product_rate()
    with tempfile.TemporaryDirectory() as folder:
        for i, (depth, width) in enumerate(SIZES):
            report("model", i, len(SIZES), f"{depth}x{width}")

            def building(peer: str, done: int = i, size: str = f"{depth}x{width}") -> None:
                report(f"build {peer}", done, len(SIZES), f"{size}; takes up to a minute")

            at = problem(depth, width, plans=10 if quick else 50)
            rows += _evaluations(at, Path(folder) / str(i), 1 if quick else 4, rate, building)
            rows.append(_change(at, Path(folder) / f"{i}_changed", 2 if quick else 5))
    report("model", len(SIZES), len(SIZES))
    return Benchmark("model", tuple(rows), _remarks(rate))


def _remarks(rate: float) -> tuple[str, ...]:
    return (
        f"Value and Jacobian by (q, v) at {KNOTS} knots: inputs sin q, cos q, v / v_max of 7 joints, tanh layers, 7 "
        "joints times 10 context entries out, contracted with the context in each call of ours. Peers have the context "
        "built in: 7 outputs.",
        "Ours is called from Python, arrays in and new arrays out. Peers are called through CasADi's function buffers, "
        "without any conversion. One thread each. Ours and L4CasADi compute in single precision, CasADi in double.",
        f"Limit: this arithmetic at {rate:.0f} GFLOP/s, the rate of numpy's single-precision product of 1024x1024 "
        "matrices on one thread in this run. A peer's time over it is about the highest ratio that one core can reach "
        "without approximations.",
        "CasADi has its weights built in and must be built again for a change; L4CasADi's update() waits 0.2 s by "
        "design. A change of the context costs ours nothing: it is an argument of the call.",
    )


def _peers(at: Problem) -> Iterator[tuple[str, Build]]:
    """Name and builder of each peer.

    Two are left out: SX beyond 2x32, which compiles for more than half a minute, and compiled MX of 3x512, which is
    slower.
    """
    yield "L4CasADi, batched", lambda folder: _l4casadi(at, folder, batched=True)
    yield "L4CasADi", lambda folder: _l4casadi(at, folder, batched=False)
    yield "CasADi MX", lambda folder: CasadiModel(at, "MX")
    if at.hidden[0] < 512:
        yield "CasADi MX, compiled", lambda folder: CasadiModel(at, "MX", folder)
    if at.hidden[0] == 32:
        yield "CasADi SX, compiled", lambda folder: CasadiModel(at, "SX", folder)


def _l4casadi(at: Problem, folder: Path, batched: bool, mutable: bool = False) -> L4CasadiModel:
    from metarl_robot.benchmarks.peers.l4casadi_model import L4CasadiModel

    return L4CasadiModel(at, folder, batched, mutable)


def _evaluations(
    at: Problem, folder: Path, repetitions: int, rate: float, building: Callable[[str], None]
) -> Iterator[Row]:
    folder.mkdir()
    case, ours, plans = _case(at), Ours(at), len(at.q)
    exact = at.exact(at.layers, 0)
    limit = {"MFLOP": at.mflop, "limit [µs]": 1e3 * at.mflop / rate}
    for i, (name, build) in enumerate(_peers(at)):
        building(name)
        try:
            peer = build(folder / str(i))
        except Exception as error:  # a peer's compiler or import may raise anything
            yield missing(case, interleaved({"ours": ours.evaluate}, plans, repetitions)["ours"], name, _said(error))
            continue
        same = SameAnswer(METRIC, relative_error(ours.answer(0), exact), relative_error(peer.answer(0), exact))
        slow = _seconds(peer) > 0.02
        times = interleaved(
            {"ours": ours.evaluate, "peer": peer.evaluate}, 5 if slow else plans, 1 if slow else repetitions
        )
        yield against(case, times["ours"], name, times["peer"], same, details=limit)


def _change(at: Problem, folder: Path, repetitions: int) -> Row:
    case, name, ours = f"{_case(at)}: change of weights", "L4CasADi, update()", Ours(at)
    sets = (at.layers, at.other)

    def change(i: int) -> None:
        ours.network.load(sets[i % 2].weights, sets[i % 2].biases)

    times = interleaved({"ours": change}, 50, repetitions)["ours"]
    try:
        peer = _l4casadi(at, folder, batched=True, mutable=True)
        peer.evaluate(0)
        peer_times = interleaved({"peer": lambda i: peer.change(sets[i % 2])}, 2, 1, warm_up=0)["peer"]
    except Exception as error:  # as above
        return missing(case, times, name, _said(error))
    exact = at.exact(at.other, 0)
    same = SameAnswer(METRIC, relative_error(ours.answer(0), exact), relative_error(peer.answer(0), exact))
    return against(case, times, name, peer_times, same)


def _case(at: Problem) -> str:
    return f"{len(at.hidden)}x{at.hidden[0]}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _seconds(peer: Model) -> float:
    peer.evaluate(0)
    start = perf_counter()
    peer.evaluate(0)
    return perf_counter() - start


_PRODUCT = """
import timeit, numpy
a = numpy.ones((1024, 1024), numpy.float32)
print(2e-9 * 1024**3 / min(timeit.repeat(lambda: a @ a, number=1, repeat=20)))
"""


def _product_rate() -> float:
    """GFLOP/s of numpy's single-precision product of two 1024 x 1024 matrices on one thread; best of many."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return float(
        subprocess.run(
            [sys.executable, "-c", _PRODUCT], env=environment, check=True, capture_output=True, text=True
        ).stdout
    )
