# SPDX-License-Identifier: Apache-2.0
"""`python -m metarl_robot.sim.quadrotor.betaflight`: flies controllers through Betaflight and prints a table."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from metarl_robot.control.factory import make_controller
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.sim.quadrotor.betaflight.commissioning import commission
from metarl_robot.sim.quadrotor.betaflight.flight import Flight, flights, fly, loaded_task

CONTROLLERS = ("nominal_mpc", "l1_mpc", "offset_free_mpc", "meta_mpc")


def main() -> int:
    """Fly, and print the RMS and the worst position error after one second. Returns 1 if no flight is possible."""
    parser = argparse.ArgumentParser(prog="python -m metarl_robot.sim.quadrotor.betaflight", description=main.__doc__)
    parser.add_argument("--robot", default="x500", help="a quad X with a betaflight.txt in its folder")
    parser.add_argument("--controllers", nargs="+", default=CONTROLLERS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            _print_table(given.robot, given.controllers, given.seeds, Path(folder))
    except MetaRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _print_table(name: str, controllers: list[str], seeds: list[int], folder: Path) -> None:
    robot: Any = load_robot(name, of_kind="quadrotor")
    commission(folder, robot.folder / "betaflight.txt", State(robot.home, np.zeros(6)))
    print("| flight | controller | RMS, median [mm] | RMS, worst [mm] | largest error [mm] | disarms | crashes |")
    print("|---|---|---|---|---|---|---|")
    for flight, reference in flights().items():
        for each in controllers:
            controller = make_controller(robot, each)
            flown = [fly(robot, controller, reference, loaded_task(robot, seed), folder, seed=seed) for seed in seeds]
            print(f"| {flight} | {each} | {_row(flown)} |", flush=True)


def _row(flown: list[Flight]) -> str:
    rms = 1e3 * np.array([each.rms_m for each in flown])
    worst = 1e3 * max(each.worst_m for each in flown)
    disarms, crashes = sum(each.disarms for each in flown), sum(each.crashed for each in flown)
    return f"{np.median(rms):.1f} | {rms.max():.1f} | {worst:.1f} | {disarms} | {crashes}"


if __name__ == "__main__":
    raise SystemExit(main())
