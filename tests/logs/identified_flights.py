# SPDX-License-Identifier: Apache-2.0
"""Identification of simulated quadrotors unlike their description, beside the truth.

`python -m tests.logs.identified_flights [--seeds 3] [--first-seed 1000] [--condition wind]` prints the errors in
standard errors.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import load_robot
from metarl_robot.logs.flight_model import NAMES, nominal_values
from metarl_robot.logs.identify_flight import Given, IdentifiedFlight, identify_flight
from metarl_robot.logs.recording import COMMANDED, Recording
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.random_trajectories import FlightRange
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind
from tests.logs.flight_conditions import NOISE
from tests.logs.made_flight import fly

Array = NDArray[np.float64]

_LOADED = load_robot("x500")
assert isinstance(_LOADED, Quadrotor)
ROBOT = _LOADED
LOGS, DURATION_S = 2, 20.0
_TIGHT = FlightRange((1.2, 1.2, 0.6), (2.0, 5.0), (3.0, 6.0), 1.5)


class Condition(NamedTuple):
    """Wind during the flights, and their shape."""

    wind: Wind = Wind()
    shape: FlightRange = FlightRange()


CONDITIONS = {
    "still": Condition(),
    "wind": Condition(Wind(np.array([4.0, 2.0, 0.0]), gust_m_s=1.0)),
    "tight": Condition(shape=_TIGHT),
    "wind-tight": Condition(Wind(np.array([-2.0, 3.0, 0.0]), gust_m_s=0.6), _TIGHT),
}


def hidden(rng: np.random.Generator, described: Quadrotor = ROBOT) -> tuple[Quadrotor, QuadrotorTask, Array]:
    """A multirotor unlike its description, its task, and the true values of NAMES."""
    d = described.description

    def times(values: tuple[float, ...], share: float) -> tuple[float, ...]:
        return tuple(float(value) for value in np.array(values) * rng.uniform(1.0 - share, 1.0 + share, len(values)))

    inertia = times(d.inertia_kg_m2, 0.3)
    made = Quadrotor(
        d.model_copy(
            update={
                "mass_kg": times((d.mass_kg,), 0.15)[0],
                "inertia_kg_m2": (*inertia[:2], min(inertia[2], 0.97 * sum(inertia[:2]))),
                "torque_ratio_m": times((d.torque_ratio_m,), 0.2)[0],
                "motor_time_s": times((0.03, 0.04), 0.4),
                "rotor_drag_n_s2_m": times((1.5e-4, 2e-5), 0.5),
                "parasitic_drag_n_s2_m2": times((0.04, 0.04, 0.06), 0.5),
            }
        ),
        described.folder,
    )
    gain, delay_s = float(rng.uniform(0.85, 1.1)), float(rng.integers(2, 8)) * 1e-3
    task = replace(NOISE, battery=gain, command_delay_s=delay_s, ground_effect=False)
    truth = nominal_values(made)
    truth[NAMES.index("thrust")], truth[NAMES.index("delay")] = gain, delay_s
    return made, task, truth


def recordings_of(
    robot: Quadrotor,
    task: QuadrotorTask,
    seed: int,
    logs: int,
    duration_s: float,
    condition: Condition = CONDITIONS["still"],
) -> list[Recording]:
    """Flights with the commands of each rotor."""
    made, task = [], replace(task, wind=condition.wind)
    for i in range(logs):
        flight = fly(robot, task, seed + 100 * i, duration_s, by_truth=True, shape=condition.shape)
        # A recording's thrusts are means about each sample; commands are held from each sample on.
        about = 0.5 * (flight.thrust + np.concatenate([flight.thrust[:1], flight.thrust[:-1]]))
        made.append(Recording(f"flight {i + 1}", flight.time_s, flight.q, flight.v, about, rotors=COMMANDED))
    return made


def in_standard_errors(found: IdentifiedFlight, truth: Array) -> Array:
    """Errors of NAMES in their standard errors."""
    return np.asarray((found.values - truth) / found.std_errors)


def main() -> None:
    """Print all errors."""
    parser = argparse.ArgumentParser(prog="python -m tests.logs.identified_flights", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--condition", choices=CONDITIONS, default="still")
    options = parser.parse_args()
    every = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        robot, task, truth = hidden(np.random.default_rng(seed))
        given = Given(robot.mass_kg, robot.torque_ratio)
        made = recordings_of(robot, task, seed, LOGS, DURATION_S, CONDITIONS[options.condition])
        found = identify_flight(ROBOT, made, given)
        off = in_standard_errors(found, truth)
        every.append(off)
        shares = np.sqrt(np.diagonal(found.covariance)) / found.std
        print(f"seed {seed}: over nominal {found.over_nominal:.2f}", flush=True)
        for name, true, value, error, share in zip(NAMES, truth, found.values, off, shares, strict=False):
            print(f"  {name}: {value:.4g} (truth {true:.4g}), {error:+.1f} sigma, {share:.2f} of the prior", flush=True)
    errors = np.abs(every)
    print(
        f"within two standard errors: {100.0 * np.mean(errors < 2.0):.1f} % of {errors.size}, worst {errors.max():.1f}"
    )


if __name__ == "__main__":
    main()
