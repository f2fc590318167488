# SPDX-License-Identifier: Apache-2.0
"""Hidden parameters of simulated arms against those that are identified from their recordings.

`python -m tests.logs.identified [--machines 24] [--first-seed 1000] [--robot panda]` prints a line for each machine:
its kind, the share of its parameters within two standard errors, the missed force on held-out recordings over the
nominal model's, and how well parameters were found; then all of them together. The first
recordings are identified from, the last one is predicted.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.mjcf_robot import MjcfRobot
from metarl_robot.core.robot import load_robot
from metarl_robot.dynamics.link_regressor import link_parameters, links_of
from metarl_robot.logs.balance_rows import MOST_CELLS, Balance
from metarl_robot.logs.base_parameters import base_parameters
from metarl_robot.logs.identify import Identified, identify
from metarl_robot.logs.recording import Recording
from metarl_robot.sim.arm.model import compile_model
from metarl_robot.sim.arm.task import Task
from metarl_robot.sim.euclidean_model import install
from tests.logs.made_log import Machine, draw_task, make

Array = NDArray[np.float64]

RECORDINGS = 3
TICK_S = 1e-3
"""Commands are held for a tick, and act half of it later in the mean."""
MACHINES = {
    "links ±20 %, 500 Hz": Machine(links=0.2),
    "links ±20 %, motors ±10 %, 1 kHz": Machine(links=0.2, hz=1000.0, strength=0.1, delay_s=0.006),
    "links ±30 %, friction 3 %, 250 Hz": Machine(links=0.3, hz=250.0, coulomb=0.03, viscous=0.01, delay_s=0.001),
    "links ±20 %, noise, jitter, lost rows": Machine(
        links=0.2, effort_noise_nm=0.5, velocity_noise_rad_s=0.02, jitter_s=1e-3, dropped=0.02
    ),
    "links ±20 %, Stribeck, motors ±5 %": Machine(links=0.2, stribeck=1.0, strength=0.05),
    "links ±20 %, slow, 100 Hz": Machine(links=0.2, hz=100.0, speed=0.5, delay_s=0.008),
}


@dataclass(frozen=True, eq=False)
class Found:
    """One machine. errors: by group, errors over standard errors. shown: by group, standard error over its prior's."""

    errors: dict[str, Array]
    shown: dict[str, Array]
    held_out: float
    fresh: float
    delay_ms: tuple[float, float, float]
    identified: Identified


def recordings_of(
    robot: MjcfRobot, machine: Machine, seed: int, count: int, duration_s: float
) -> tuple[Task, list[Recording]]:
    """Recordings of one machine along different motions."""
    task = draw_task(robot, machine, np.random.default_rng(seed))
    made = [make(robot, machine, 10_000 * (i + 1) + seed, duration_s, task) for i in range(count)]
    return task, [Recording(f"log {i + 1}", each.time_s, each.q, each.v, each.effort) for i, each in enumerate(made)]


def truth_of(robot: MjcfRobot, task: Task) -> Array:
    """Inertial parameters (L, 10) of a simulated machine's links."""
    layout = compile_model(robot)
    install(layout, task, mujoco.MjData(layout.model))
    names = [link.name for link in links_of(robot.mj_model)]
    links = {link.name: link for link in links_of(layout.model)}
    return np.array([link_parameters(layout.model, links[name]) for name in names])


def examine(robot: MjcfRobot, machine: Machine, seed: int, duration_s: float = 15.0) -> Found:
    """Identify a machine, and compare."""
    task, recordings = recordings_of(robot, machine, seed, RECORDINGS + 1, duration_s)
    found = identify(robot, recordings[:-1])
    layout, x, spread = found.problem.layout, found.x, np.sqrt(np.diagonal(found.x_covariance))
    by_z = found.problem.jacobian(found.problem.start)
    before = np.sqrt(np.diagonal(by_z @ np.diag(found.problem.std**2) @ by_z.T))
    true = np.zeros(layout.size)
    true[: 10 * layout.links] = truth_of(robot, task).ravel() - found.problem.nominal[: 10 * layout.links]
    armature = np.array(robot.mj_model.dof_armature)
    if task.links is not None:
        true[layout.of("armature")] = armature * (task.links.armature - 1.0)
    true[layout.of("viscous")], true[layout.of("coulomb")] = task.viscous_nm_s, task.coulomb_nm
    true[layout.of("strength")] = task.motor_strength - 1.0
    true[layout.delay] = task.command_delay_s + 0.5 * TICK_S
    groups = {
        "links": slice(0, 10 * layout.links),
        **{n: layout.of(n) for n in ("armature", "viscous", "coulomb", "strength")},
    }
    groups["delay"] = slice(layout.delay, layout.size)
    errors = {name: ((x - true) / spread)[at] for name, at in groups.items()}
    shown = {name: (spread / before)[at] for name, at in groups.items()}
    base = base_parameters(robot, found.problem.regressor, layout).matrix
    certain = np.sqrt(np.diagonal(base @ found.x_covariance @ base.T))
    errors["base"] = base @ (x - true) / certain
    shown["base"] = certain / np.sqrt(np.diagonal(base @ by_z @ np.diag(found.problem.std**2) @ by_z.T @ base.T))
    fresh = _predicted(robot, found, recordings[-1])
    delay = 1e3 * x[layout.delay], 1e3 * spread[layout.delay], 1e3 * true[layout.delay]
    return Found(errors, shown, found.over_nominal(robot.effort_limit), fresh, delay, found)


def _predicted(robot: MjcfRobot, found: Identified, recording: Recording) -> float:
    """Missed force in another recording, over the nominal model's."""
    balance, problem = Balance(robot, found.problem.regressor, recording, MOST_CELLS), found.problem
    missed = [
        np.sqrt(np.mean(balance.rows(z[problem.layout.delay]).left(problem.values(z)) ** 2, axis=0))
        / robot.effort_limit
        for z in (problem.start, found.z)
    ]
    return float(missed[1].mean() / missed[0].mean())


def main() -> None:
    """Print all machines."""
    parser = argparse.ArgumentParser(prog="python -m tests.logs.identified", description=__doc__)
    parser.add_argument("--machines", type=int, default=24)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--robot", default="panda")
    options = parser.parse_args()
    robot, every = load_robot(options.robot), []
    for i in range(options.machines):
        name = list(MACHINES)[i % len(MACHINES)]
        done = examine(robot, MACHINES[name], options.first_seed + i)
        every.append(done)
        within = " ".join(f"{g} {np.mean(np.abs(e) < 2.0):.2f} ({np.abs(e).max():.1f})" for g, e in done.errors.items())
        print(
            f"{name}, seed {options.first_seed + i}: within 2 (worst) {within}; held out {done.held_out:.3f}, fresh "
            f"{done.fresh:.3f}; determined {done.identified.determined:.0f}; delay {done.delay_ms[0]:.2f} ± "
            f"{done.delay_ms[1]:.2f} (truth {done.delay_ms[2]:.2f}) ms; alike {np.round(done.identified.alike, 1)}",
            flush=True,
        )
    for group in every[0].errors:
        errors, shown = (np.concatenate([getattr(each, k)[group] for each in every]) for k in ("errors", "shown"))
        print(
            f"{group}: {errors.size}, within two standard errors {100 * np.mean(np.abs(errors) < 2):.1f} %, worst "
            f"{np.abs(errors).max():.1f}; standard error over the prior's, median {np.median(shown):.3f}"
        )
    for name in ("held_out", "fresh"):
        values = np.array([getattr(each, name) for each in every])
        print(f"{name}: missed force over nominal's median {np.median(values):.3f}, worst {values.max():.3f}")


if __name__ == "__main__":
    main()
