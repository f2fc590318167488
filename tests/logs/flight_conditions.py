# SPDX-License-Identifier: Apache-2.0
"""Adapters beside simple rivals on recordings of simulated quadrotors unlike the defaults.

`python -m tests.logs.flight_conditions [--seeds 1] [--first-seed 1000] [--adapter last_layer]` prints a line for each
recording, then medians and worst: error half a second ahead over that of the best rival, over that of the best rival or
disturbance observer, and over the nominal model's, after 1, 3, 5 and 10 s.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import load_robot
from metarl_robot.logs.flight_map import FlightMap
from metarl_robot.logs.reading import read_log
from metarl_robot.logs.recording import Recording
from metarl_robot.logs.replay import RIVALS, evaluate
from metarl_robot.logs.scores import summary
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from metarl_robot.sim.quadrotor.wind import Wind
from tests.logs.flight_bags import Style, write_flight_bag, write_flight_table
from tests.logs.made_flight import Flight, fly, write_ulog

Array = NDArray[np.float64]

ROBOT = load_robot("x500")
OBSERVER = "disturbance_observer"
DURATION_S = 14.0
NOISE = QuadrotorTask(
    command_delay_s=0.004,
    position_noise_m=2e-3,
    attitude_noise_rad=2e-3,
    velocity_noise_m_s=0.02,
    gyro_noise_rad_s=0.02,
    accelerometer_noise_m_s2=0.3,
)


@dataclass(frozen=True, eq=False)
class Condition:
    """A task and how its flight is recorded.

    hz: of the rows. curve: share by which recorded thrusts are wrong at twice the hover thrust. lost: share of rows.
    differentiated: whether the log has no velocities. form: csv, mcap or ulog.
    """

    task: QuadrotorTask
    hz: float = 200.0
    curve: float = 0.0
    lost: float = 0.0
    differentiated: bool = False
    form: str = "csv"


def _load(mass_kg: float) -> Payload:
    return Payload(mass_kg, np.array([0.01, 0.0, -0.02]), mass_kg * np.array([5e-3, 5e-3, 5e-3, 0.0, 0.0, 0.0]))


def _wind(x: float, y: float, gust_m_s: float = 1.0) -> Wind:
    return Wind(np.array([x, y, 0.0]), gust_m_s=gust_m_s)


LIGHT = replace(NOISE, payload=_load(0.2))
ROUGH = replace(LIGHT, position_noise_m=5e-3, gyro_noise_rad_s=0.05)
CONDITIONS = {
    "still, no payload": Condition(NOISE),
    "wind 4 m/s, 0.2 kg": Condition(replace(LIGHT, wind=_wind(3.0, -2.5))),
    "wind 8 m/s, gusts 2 m/s, twice the drag": Condition(
        replace(NOISE, wind=_wind(6.0, 5.0, 2.0), drag_scale=np.array([2.0, 2.0]))
    ),
    "0.5 kg, battery 0.85, 100 Hz": Condition(replace(NOISE, payload=_load(0.5), battery=0.85), hz=100.0),
    "thrust curve 20 %, 0.3 kg, wind 3 m/s": Condition(
        replace(NOISE, payload=_load(0.3), wind=_wind(3.0, 0.0, 0.0)), curve=0.2
    ),
    "5 mm, no velocities, lost rows": Condition(
        replace(ROUGH, wind=_wind(0.0, 4.0, 0.7)), lost=0.03, differentiated=True
    ),
    "50 ms of delays, wind 5 m/s": Condition(
        replace(LIGHT, command_delay_s=0.03, sensor_delay_s=0.02, wind=_wind(-4.0, 3.0))
    ),
    "50 Hz, wind 4 m/s, half of the drag": Condition(
        replace(LIGHT, wind=_wind(2.0, -3.5), drag_scale=np.array([0.5, 0.5])), hz=50.0
    ),
    "250 Hz, uneven rotors, centre of mass off": Condition(
        replace(LIGHT, effectiveness=np.array([0.9, 1.05, 1.0, 0.95]), com_m=np.array([0.01, -0.008, 0.0])), hz=250.0
    ),
    "0.3 kg on a rod, wind 3 m/s": Condition(
        replace(NOISE, payload=_load(0.3), sling_m=0.5, wind=_wind(0.0, 3.0, 0.0))
    ),
    "MCAP, wind 6 m/s": Condition(replace(LIGHT, wind=_wind(5.0, 3.0, 1.5)), form="mcap"),
    "ULog, wind 5 m/s, 0.4 kg": Condition(replace(NOISE, payload=_load(0.4), wind=_wind(4.0, -3.0)), form="ulog"),
}


def recorded(condition: Condition, seed: int, folder: Path) -> Recording:
    """Fly, write and read a recording."""
    wind = replace(condition.task.wind, gust_seed=seed)
    flown_hz = max(condition.hz, 200.0)
    flight = fly(ROBOT, replace(condition.task, wind=wind), seed, DURATION_S, flown_hz, by_truth=True)
    every = slice(None, None, round(flown_hz / condition.hz))
    wrong = 1.0 + condition.curve * (flight.thrust / ROBOT.hover_thrust - 1.0)
    columns = (flight.time_s, flight.q, flight.v, flight.force, flight.thrust * wrong)
    flight = Flight(*(column[every] for column in columns))
    if condition.form == "mcap":
        return read_log(ROBOT, write_flight_bag(folder / "bag", ROBOT, flight, Style(lost=0.01, late_s=0.003)))
    if condition.form == "ulog":
        return read_log(ROBOT, write_ulog(folder / "log.ulg", ROBOT, flight))
    kept = np.random.default_rng(seed).random(len(flight.time_s)) >= condition.lost
    coordinates = ROBOT.coordinates
    force = (f"specific_force_{axis}_m_s2" for axis in "xyz")
    names = ("time_s", *coordinates.q, *coordinates.v, *force, *coordinates.effort)
    signals = (flight.time_s, flight.q, flight.v, flight.force, flight.thrust)
    path = write_flight_table(folder / "log.csv", names, *(signal[kept] for signal in signals))
    return read_log(ROBOT, path, FlightMap.model_validate({"velocity": None} if condition.differentiated else {}))


def ratios(recording: Recording, adapter: str) -> Array:
    """Errors (3, 4) over the best rival's, over that of rival or observer, and over the nominal model's."""
    rows = summary(ROBOT, [evaluate(ROBOT, recording, (OBSERVER, adapter))])["rows"]
    errors = {name: np.array([entry["error_percent_of_limit"] for entry in row["after"]]) for name, row in rows.items()}
    best = np.min([errors[name] for name in RIVALS], axis=0)
    return errors[adapter] / np.stack([best, np.minimum(best, errors[OBSERVER]), errors["nominal"]])


def main() -> None:
    """Print all ratios."""
    parser = argparse.ArgumentParser(prog="python -m tests.logs.flight_conditions", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--adapter", default="last_layer")
    options, found = parser.parse_args(), []
    for name, condition in CONDITIONS.items():
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                found.append(ratios(recorded(condition, seed, Path(folder)), options.adapter))
            words = " | ".join(" ".join(f"{value:.2f}" for value in row) for row in found[-1])
            print(f"{name}, seed {seed}: {words}", flush=True)
    for label, several in zip(("rival", "rival or observer", "nominal"), np.stack(found, axis=1), strict=True):
        median, worst = (np.round(of(several, axis=0), 2).tolist() for of in (np.median, np.max))
        print(f"over {label}: median {median}, worst {worst}, at most 1 in {(several <= 1.0).sum()} of {several.size}")


if __name__ == "__main__":
    main()
