# SPDX-License-Identifier: Apache-2.0
"""Speed of Meta-World's environments in worker processes: steps per second, and processor time of a step.

    python benchmarks/metaworld_steps.py metaworld:ML10 --tasks 20 --steps 200

Processor time counts the workers' and this process's, so that it hardly depends on other work on the machine.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from time import perf_counter

import numpy as np

from metarl_robot.learning.policies.family import load_family
from metarl_robot.sim.metaworld.pool import pool

SEED = 1000


def processor_s() -> float:
    """Processor time of this process and its workers so far."""
    own = os.times()
    ticks = 0
    for worker in pool().workers:
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return own.user + own.system + ticks / os.sysconf("SC_CLK_TCK")


def measured(name: str, tasks: int, steps: int, held_out: bool) -> str:
    """One line: a reset and random steps of so many tasks."""
    rng = np.random.default_rng(SEED)
    family = load_family(name)
    drawn = family.tasks(rng, tasks, held_out)
    env = family.vector_env(drawn)
    env.reset()
    before = processor_s()
    env.reset()
    reset_s = processor_s() - before
    begin, before = perf_counter(), processor_s()
    for _ in range(steps):
        seen, _, _, _, _ = env.step(rng.uniform(-1.0, 1.0, (tasks, 4)))
    elapsed, used = perf_counter() - begin, processor_s() - before
    assert np.isfinite(seen).all()
    env.close()
    count, kinds = tasks * steps, len({task.environment for task in drawn})
    return (
        f"{name}, {'test' if held_out else 'training'} tasks, {kinds} environments: "
        f"{count / elapsed:.0f} steps/s; processor time {1e3 * used / count:.2f} ms a step, "
        f"{1e3 * reset_s / tasks:.0f} ms a reset"
    )


def main() -> None:
    """Print one line for training and one for test tasks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("family", help="metaworld:ML10 or metaworld:ML1-<environment>")
    parser.add_argument("--tasks", type=int, default=20, help="environments that are stepped together")
    parser.add_argument("--steps", type=int, default=200, help="steps of each, at most 500")
    given = parser.parse_args()
    for held_out in (False, True):
        print(measured(given.family, given.tasks, given.steps, held_out))


if __name__ == "__main__":
    main()
