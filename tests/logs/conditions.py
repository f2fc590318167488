# SPDX-License-Identifier: Apache-2.0
"""Adapters beside simple rivals on recordings of simulated arms unlike the defaults.

`python -m tests.logs.conditions [--seeds 3] [--first-seed 1000]` prints a line for each recording, then worst and
median. Over the rival: error half a second ahead, over that of the best rival, after 1, 3, 5 and 10 s. Nominal: the
largest of the four, over the nominal model's. Mass: estimate after 10 s.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from metarl_robot.core.robot import load_robot
from metarl_robot.logs.recording import Recording
from metarl_robot.logs.replay import RIVALS, evaluate
from metarl_robot.logs.scores import AFTER_S, summary
from tests.logs.made_log import Machine, make

ROBOT = load_robot("panda")
ADAPTERS = ("inertial", "last_layer", "regression")
OBSERVER = "disturbance_observer"
"""An adapter that counts among the rivals."""
DURATION_S = 13.0
CONDITIONS = {
    "no payload, 500 Hz": Machine(),
    "1.8 kg, 1 kHz": Machine(hz=1000.0, mass_kg=1.8),
    "0.6 kg, 250 Hz": Machine(hz=250.0, mass_kg=0.6),
    "no payload, Stribeck, lost rows": Machine(stribeck=1.0, dropped=0.02),
    "1.2 kg, Stribeck, lost rows": Machine(mass_kg=1.2, stribeck=1.0, dropped=0.02),
    "1.2 kg, other motors, 100 Hz": Machine(hz=100.0, mass_kg=1.2, strength=0.1),
    "1.2 kg, 50 Hz": Machine(hz=50.0, mass_kg=1.2),
    "1.2 kg, noise and jitter": Machine(mass_kg=1.2, effort_noise_nm=0.5, velocity_noise_rad_s=0.02, jitter_s=1e-3),
    "no payload, large friction, slow": Machine(coulomb=0.05, speed=0.4),
    "no payload, wrong links": Machine(links=0.1),
    "1.2 kg, wrong links, other motors, 200 Hz": Machine(hz=200.0, mass_kg=1.2, links=0.1, strength=0.2),
}


@dataclass(frozen=True)
class Outcome:
    """One adapter on one recording. over_rival, over_nominal: after each of AFTER_S. mass_kg, std_kg: after 10 s."""

    over_rival: tuple[float, ...]
    over_nominal: tuple[float, ...]
    mass_kg: float
    std_kg: float
    true_kg: float


def outcomes(machine: Machine, seed: int) -> dict[str, Outcome]:
    """Outcome of each adapter."""
    made = make(ROBOT, machine, seed, DURATION_S)
    found = evaluate(ROBOT, Recording("made", made.time_s, made.q, made.v, made.effort), (OBSERVER, *ADAPTERS))
    rows, at = summary(ROBOT, [found])["rows"], int(np.searchsorted(found.time_s, AFTER_S[-1]))
    errors = {name: [entry["error_percent_of_limit"] for entry in row["after"]] for name, row in rows.items()}
    best = np.min([errors[name] for name in (*RIVALS, OBSERVER)], axis=0)
    return {
        name: Outcome(
            tuple(np.array(errors[name]) / best),
            tuple(np.array(errors[name]) / errors["nominal"]),
            float(found.rows[name].estimates["payload"].mean[at, 0]),
            float(found.rows[name].estimates["payload"].std[at, 0]),
            machine.mass_kg,
        )
        for name in ADAPTERS
    }


def main() -> None:
    """Print all outcomes."""
    parser = argparse.ArgumentParser(prog="python -m tests.logs.conditions", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=1000)
    options = parser.parse_args()
    found: dict[str, list[Outcome]] = {name: [] for name in ADAPTERS}
    for condition, machine in CONDITIONS.items():
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for name, done in outcomes(machine, seed).items():
                found[name].append(done)
                ratios = " ".join(f"{ratio:.2f}" for ratio in done.over_rival)
                print(f"{condition}, seed {seed}: {name} over the rival {ratios}, {_in_words(done)}", flush=True)
    for name, several in found.items():
        print(f"{name}: {_overall(several)}")


def _in_words(done: Outcome) -> str:
    mass = f"{done.mass_kg:.2f} ± {done.std_kg:.2f} kg (truth {done.true_kg:g})"
    return f"nominal {max(done.over_nominal):.2f}, {mass}"


def _overall(several: list[Outcome]) -> str:
    ratios = np.array([done.over_rival for done in several])
    nominal = max(max(done.over_nominal) for done in several)
    off = np.array([abs(done.mass_kg / done.true_kg - 1.0) for done in several if done.true_kg])
    sigmas = np.array([abs(done.mass_kg - done.true_kg) / done.std_kg for done in several])
    empty = np.array([done.mass_kg / done.std_kg for done in several if not done.true_kg])
    return (
        f"over the rival median {np.median(ratios):.2f}, worst {ratios.max():.2f}, "
        f"at most 1 in {(ratios <= 1.0).sum()} of {ratios.size}; nominal worst {nominal:.2f}; "
        f"mass: median error {100 * np.median(off):.1f} %, within 5 % in {(off < 0.05).sum()} of {len(off)}, "
        f"beyond 2 sigma in {(sigmas > 2.0).sum()} of {len(sigmas)}, without payload largest {empty.max():.2f} sigma"
    )


if __name__ == "__main__":
    main()
