# SPDX-License-Identifier: Apache-2.0
"""Time of an iteration of maml_pg on a Ray cluster: measured on one and two workers, computed for more.

    python benchmarks/policy_scaling.py half-cheetah-direction --tasks 40 --inner-rate 0.1 --discount 0.95

Every task is a group of its own, which is a work item. Measured for each iteration, with the same random numbers: the
wall time with one worker and with all workers of the cluster, in turns; the processor time of the items on the workers
(episodes, gradients); and that of this process, which is serial: drawing tasks, advantages, inner steps, the metric of
the trust region, sending and receiving. With K groups on N workers an iteration takes

    serial + (episodes + gradients) ceil(K / N) / K

without the time of the network and without waiting for the slowest worker.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter, process_time
from typing import Any

import numpy as np

from metarl_robot.learning.policies.algorithm import make_algorithm, sampler_of
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.family import load_family
from metarl_robot.learning.policies.sampling import Sampler
from metarl_robot.learning.policies.threads import limited_threads
from metarl_robot.parallel.engine import Engine, Job, Result
from metarl_robot.parallel.ray_cluster import ray_cluster

WORKERS = (1, 2, 4, 8, 16, 32, 64)
_EPISODES = "_collected"


@dataclass
class Timed:
    """An engine that sums the processor time of its items by function [s]. one: one item at a time, so one worker."""

    engine: Engine
    one: bool
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def run_all(self, do: Callable[[Job], Result], work: Sequence[Job]) -> Iterator[tuple[int, Result]]:
        """See Engine."""
        for first in range(0, len(work), 1 if self.one else len(work)):
            part = [(do, job) for job in work[first : first + 1 if self.one else None]]
            for index, (result, seconds) in self.engine.run_all(_timed, part):
                self.spent[do.__name__] += seconds
                yield first + index, result


def _timed(call: tuple[Callable[[Any], Any], Any]) -> tuple[Any, float]:
    do, job = call
    start = process_time()
    result = do(job)
    return result, process_time() - start


@dataclass(frozen=True)
class Times:
    """Of one iteration [s]: on the wall, and of processors."""

    wall: float
    serial: float
    episodes: float
    gradients: float


def measured(sampler: Sampler, engine: Engine, one: bool, iteration: int) -> Times:
    """Run one iteration from the first weights."""
    timed = Timed(engine, one)
    algorithm = make_algorithm(replace(sampler, engine=timed))
    wall, serial = perf_counter(), process_time()
    algorithm.step(np.random.default_rng(iteration))
    wall, serial = perf_counter() - wall, process_time() - serial
    episodes = timed.spent.pop(_EPISODES)
    return Times(wall, serial, episodes, sum(timed.spent.values()))


def median(times: Sequence[Times]) -> Times:
    """Median of each."""
    return Times(*(float(np.median([getattr(t, name) for t in times])) for name in Times.__dataclass_fields__))


def predicted(times: Times, groups: int, workers: int) -> float:
    """Seconds of an iteration on so many workers."""
    return times.serial + (times.episodes + times.gradients) * math.ceil(groups / workers) / groups


def main() -> None:
    """Measure, and print the tables."""
    arguments, config = _arguments()
    sampler = sampler_of(load_family(arguments.family), config)
    rows: dict[str, list[Times]] = {"one worker": [], "all workers": []}
    with ray_cluster(arguments.ray) as cluster, limited_threads(config.threads):
        for one in (True, False):
            measured(sampler, cluster, one, 0)  # starts the workers, and loads what they need
        for iteration in range(1, arguments.repetitions + 1):
            for name, times in rows.items():
                times.append(measured(sampler, cluster, name == "one worker", iteration))
    print("| measured | wall [s] | serial [s] | episodes [s] | gradients [s] |\n|---|---:|---:|---:|---:|")
    for name, times in rows.items():
        middle = median(times)
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in vars(middle).values()) + " |")
    middle, first = median(rows["one worker"]), predicted(median(rows["one worker"]), config.tasks, 1)
    print(f"\nserial fraction: {100.0 * middle.serial / first:.0f} %\n")
    print("| workers | iteration [s] | gain |\n|---:|---:|---:|")
    for workers in WORKERS:
        seconds = predicted(middle, config.tasks, workers)
        print(f"| {workers} | {seconds:.2f} | {first / seconds:.1f} |")


def _arguments() -> tuple[argparse.Namespace, PolicyConfig]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family")
    parser.add_argument("--ray", default="auto", help="auto, or HOST:PORT of a cluster's head")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--inner-rate", type=float, default=0.1)
    parser.add_argument("--discount", type=float, default=0.99)
    given = parser.parse_args()
    chosen = {name: getattr(given, name) for name in ("tasks", "episodes", "inner_rate", "discount")}
    return given, PolicyConfig(groups=given.tasks, **chosen)


if __name__ == "__main__":
    main()
