# SPDX-License-Identifier: Apache-2.0
"""Timing of ours and peers in turns, so that changes of the machine's speed affect all equally."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Call = Callable[[int], object]
"""Takes the number of the problem (0, 1, …), so that every contestant solves the same problems in the same order."""


def interleaved(
    calls: Mapping[str, Call],
    problems: int,
    repetitions: int = 3,
    warm_up: int = 3,
    prepare: Mapping[str, Call] | None = None,
    often: str | None = None,
) -> dict[str, Array]:
    """Time single calls in turns; returns durations [s] (repetitions x problems,) of each contestant.

    In every repetition, each contestant solves all problems in order, so that its caches and warm starts work as in
    use; then the next one does. The order rotates between repetitions. `prepare` runs before each call and is not
    timed.

    often: contestant that gets a turn before each of the others. Without it, a fast contestant beside slow ones would
    be measured only in a short part of the run.
    """
    names, before = list(calls), prepare or {}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for name in names:
        for i in range(min(warm_up, problems)):
            _timed(calls[name], before.get(name), i)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for k in range(repetitions):
            for name in _turns(names[k % len(names) :] + names[: k % len(names)], often):
                times[name] += [_timed(calls[name], before.get(name), i) for i in range(problems)]
    finally:
        if collecting:
            gc.enable()
    return {name: np.array(values) for name, values in times.items()}


def _turns(names: list[str], often: str | None) -> list[str]:
    others = [name for name in names if name != often]
    return names if often is None or not others else [turn for name in others for turn in (often, name)]


def _timed(call: Call, prepare: Call | None, i: int) -> float:
    if prepare is not None:
        prepare(i)
    start = perf_counter()
    call(i)
    return perf_counter() - start
