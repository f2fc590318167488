# SPDX-License-Identifier: Apache-2.0
"""Weights from recordings beside simulated ones, on recordings that they have not seen.

`python -m tests.logs.held_out [--seed 1000]` prints errors half a second ahead after 1, 3 and 5 s, over those with the
simulated weights: of three recordings of one Panda unlike the defaults, and of three flights of an X500 in wind.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.logs.log_training import LABEL, train_on_logs
from metarl_robot.logs.reading import read_log
from metarl_robot.logs.recording import Recording
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.quadrotor.wind import Wind
from tests.logs.flight_bags import write_flight_bag
from tests.logs.made_flight import fly
from tests.logs.made_log import Machine, draw_task, make
from tests.logs.test_flight import TASK

MASSES_KG = (0.0, 0.8, 1.5)
WINDS_M_S = ((3.0, 1.0, 0.0), (4.0, -2.0, 0.0), (2.0, 2.0, 0.0))


def arms(robot: Robot, seed: int) -> list[Recording]:
    """Recordings of one machine without and with payloads."""
    machine, made = Machine(strength=0.1, coulomb=0.02, hz=250.0), []
    task = draw_task(robot, machine, np.random.default_rng(seed))
    for i, mass in enumerate(MASSES_KG):
        inertia = mass * np.array([1.5e-3, 1.2e-3, 1e-3, 0.0, 0.0, 0.0])
        carried = Payload(mass, np.array([0.02, -0.03, 0.05]), inertia) if mass else Payload()
        log = make(robot, machine, seed + i, 10.0, replace(task, payload=carried))
        made.append(Recording(f"{mass} kg", log.time_s, log.q, log.v, log.effort))
    return made


def flights(robot: Robot, seed: int) -> list[Recording]:
    """Recordings of a quadrotor with a payload in wind."""
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for i, wind in enumerate(WINDS_M_S):
            flown = fly(robot, replace(TASK, wind=Wind(np.array(wind))), seed + 10 + i, 6.0)  # type: ignore[arg-type]
            made.append(read_log(robot, write_flight_bag(Path(folder) / str(i), robot, flown)))  # type: ignore[arg-type]
        return made


def report(robot: Robot, recordings: Sequence[Recording]) -> None:
    """Print the ratios."""
    done = train_on_logs(robot, recordings)
    rows = done.document["rows"]
    print(f"{robot.name}: simulated tasks count as {done.weight:g} recordings")
    for name in rows:
        if f"{name} ({LABEL})" in rows:
            pairs = zip(rows[f"{name} ({LABEL})"]["after"], rows[name]["after"], strict=True)
            ratios = [a["error_percent_of_limit"] / b["error_percent_of_limit"] for a, b in pairs if a and b]
            print(f"  {name}: {' '.join(f'{ratio:.2f}' for ratio in ratios)}")


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(prog="python -m tests.logs.held_out", description=__doc__)
    parser.add_argument("--seed", type=int, default=1000)
    seed = parser.parse_args().seed
    for name, made in (("panda", arms), ("x500", flights)):
        robot = load_robot(name)
        report(robot, made(robot, seed))


if __name__ == "__main__":
    main()
