# SPDX-License-Identifier: Apache-2.0
"""A synthetic recording of a Panda with torques measured on the link's side, and the adapter's predictions on it.

`python -m tests.recordings.link_side [--seeds 4] [--damping 0] [--jitter-ms 0.36] [--lag-ms 5.3]`

Such a recording has no motor damping or armature, velocities that lag, stamps that jitter, link masses that are 2 % off
and noise of real sensors. A ratio above 1 means that the shipped last-layer adapter predicts it worse than the nominal
model does.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import make_adapter
from metarl_robot.adaptation.features import Xi
from metarl_robot.control.factory import adapter_tuning
from metarl_robot.core.checkpoint import default_checkpoint, load_checkpoint
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.arm.dynamics import ArmDynamics

Array = NDArray[np.float64]

ROBOT = load_robot("panda")
COULOMB_NM = np.array([0.26, 0.26, 0.15, 0.4, 0.35, 0.15, 0.28])
CHECKED_AT_S = (1, 3, 5, 10)
TESTED_FROM_S = 12.0


@dataclass(frozen=True)
class Recording:
    """stamps (K,) [s], measured q, v (K, 7) [rad, rad/s], mean effort of each interval (K, 7) [Nm]; q, v, a and effort
    (N, 7) to be predicted, without noise, and their residual (N, 7) [Nm]: nominal inverse dynamics less effort.
    """

    stamps: Array
    q: Array
    v: Array
    effort: Array
    future: tuple[Array, Array, Array, Array]
    residual: Array


def motion(seed: int, grid: Array) -> tuple[Array, Array, Array]:
    """q, v, a (T, 7) of a sum of five sines per joint, 0.75 rad/s r.m.s."""
    rng = np.random.default_rng(seed)
    omega = 2.0 * np.pi * 0.1 * np.arange(1, 6)
    amplitude, phase = rng.normal(size=(7, 5)), rng.uniform(0.0, 2.0 * np.pi, (7, 5))
    amplitude *= (0.75 / np.sqrt(0.5 * ((amplitude * omega) ** 2).sum(1)))[:, None]
    angle = omega * grid[:, None, None] + phase
    q = ROBOT.home + (amplitude * np.sin(angle)).sum(-1)
    return q, (amplitude * omega * np.cos(angle)).sum(-1), -(amplitude * omega**2 * np.sin(angle)).sum(-1)


def link_torque(
    q: Array, v: Array, a: Array, damping: float, rng: np.random.Generator, coulomb_nm: Array = COULOMB_NM
) -> Array:
    """Joint torque (T, 7) of the real arm, friction included."""
    model = mujoco.MjModel.from_xml_path(str(ROBOT.model_path))
    data = mujoco.MjData(model)
    model.dof_damping[:], model.dof_armature[:] = damping, 0.1 * damping
    model.body_mass[1:] *= 1.0 + 0.02 * rng.normal(size=model.nbody - 1)
    torque = np.empty_like(q)
    for k in range(len(q)):
        data.qpos[:], data.qvel[:], data.qacc[:] = q[k], v[k], a[k]
        mujoco.mj_inverse(model, data)
        torque[k] = data.qfrc_inverse
    return np.asarray(torque + coulomb_nm * np.tanh(v / 0.02))


def record(
    seed: int,
    dynamics: ArmDynamics,
    damping: float,
    jitter_ms: float,
    lag_ms: float,
    coulomb_nm: Array = COULOMB_NM,
    effort_noise_nm: float = 0.07,
) -> Recording:
    """21 s at 200 Hz, from a motion at 1 kHz."""
    grid = np.arange(0, 21, 1e-3)
    q, v, a = motion(seed, grid)
    rng = np.random.default_rng(seed + 100)
    torque = link_torque(q, v, a, damping, rng, coulomb_nm)
    lagged = np.stack([np.interp(grid - lag_ms * 1e-3, grid, v[:, j]) for j in range(7)], 1)
    v_measured = lagged + 3e-3 * rng.normal(size=v.shape)
    q_measured = q + 3e-5 * rng.normal(size=q.shape)
    effort = torque + effort_noise_nm * rng.normal(size=q.shape)
    stamps = jittered(grid, jitter_ms * 1e-3, rng)
    kept = np.unique(np.searchsorted(stamps, np.arange(0, stamps[-1], 0.005)))
    held = np.stack([effort[x:y].mean(0) for x, y in zip(kept[:-1], kept[1:], strict=True)] + [effort[kept[-1]]])
    chosen = np.flatnonzero(grid > TESTED_FROM_S)[::10][: dynamics.knots * 14]
    future = q[chosen], v[chosen], a[chosen], torque[chosen]
    nominal = [dynamics.inverse_dynamics(*(x[k : k + 64] for x in future[:3])) for k in range(0, len(chosen), 64)]
    residual = np.concatenate(nominal) - future[3]
    return Recording(stamps[kept], q_measured[kept], v_measured[kept], held, future, residual)


def jittered(grid: Array, jitter_s: float, rng: np.random.Generator) -> Array:
    """Stamps (T,) that advance, with correlated jitter."""
    noise, error = rng.normal(size=len(grid)), np.zeros(len(grid))
    for k in range(1, len(grid)):
        error[k] = 0.5 * error[k - 1] + 0.75**0.5 * noise[k]
    stamps = np.maximum.accumulate(grid + jitter_s * error + 1e-7 * np.arange(len(grid)))
    return np.asarray(stamps - stamps[0])


@dataclass(frozen=True)
class Score:
    """nominal_nm: r.m.s. residual, mean over the joints. ratios: error of the prediction to it after CHECKED_AT_S.
    mass_kg, largest_kg: payload and standard deviation reported at 10 s or at the end, and the largest after 1 s.
    unfamiliar: whether the adapter takes the robot for one unlike those of the training.
    """

    nominal_nm: float
    ratios: tuple[float, ...]
    mass_kg: tuple[float, float]
    largest_kg: tuple[float, float]
    unfamiliar: bool


def score(recording: Recording, dynamics: ArmDynamics, until_s: float = np.inf) -> Score:
    """Feed the shipped last-layer adapter with a recording."""
    checkpoint = load_checkpoint(default_checkpoint(ROBOT, "last_layer"), ROBOT)
    adapter = make_adapter("last_layer", ROBOT, dynamics, adapter_tuning(ROBOT, "meta_mpc"), checkpoint)
    adapter.reset()
    nominal, ratios, masses = np.sqrt((recording.residual**2).mean(0)), [], []
    for k, stamp_s in enumerate(recording.stamps[recording.stamps <= until_s]):
        before = max(k - 1, 0)
        dt_s = max(stamp_s - recording.stamps[before], 1e-3)
        context = adapter.update(State(recording.q[k], recording.v[k]), recording.effort[before], dt_s)
        masses.append(context["payload_mass_kg"])
        if len(ratios) < len(CHECKED_AT_S) and stamp_s >= CHECKED_AT_S[len(ratios)]:
            missed = recording.residual - predicted(adapter, recording.future, dynamics.knots)
            ratios.append(float(np.mean(np.sqrt((missed**2).mean(0)) / nominal)))
    largest = max(masses[200:], key=lambda mass: abs(mass[0]))
    at_10_s = masses[np.searchsorted(recording.stamps, min(10.0, until_s)) - 1]
    return Score(float(nominal.mean()), tuple(ratios), tuple(at_10_s), tuple(largest), adapter.unfamiliar)


def predicted(adapter: object, future: tuple[Array, Array, Array, Array], knots: int) -> Array:
    """The residual (N, 7) that the adapter predicts, `knots` samples at a time."""
    parts = []
    for k in range(0, len(future[0]), knots):
        q, v, a, effort = (x[k : k + knots] for x in future)
        parts.append(np.broadcast_to(adapter.evaluate(Xi(q, v, a, effort, np.stack([effort] * 2))), (knots, 7)))
    return np.concatenate(parts)


def main() -> None:
    """Print a line per seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.recordings.link_side", description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--damping", type=float, default=0.0, help="of the joints [Nms/rad]; 1: as the nominal model")
    parser.add_argument("--jitter-ms", type=float, default=0.36)
    parser.add_argument("--lag-ms", type=float, default=5.3)
    options = parser.parse_args()
    dynamics = ArmDynamics(ROBOT)
    for seed in range(options.seeds):
        done = score(record(seed, dynamics, options.damping, options.jitter_ms, options.lag_ms), dynamics)
        ratios = " ".join(f"{ratio:.2f}" for ratio in done.ratios)
        print(
            f"seed {seed}: nominal {done.nominal_nm:.2f} Nm, ratio at 1 3 5 10 s {ratios}, "
            f"mass at 10 s {done.mass_kg[0]:.2f}±{done.mass_kg[1]:.2f} kg, "
            f"largest after 1 s {done.largest_kg[0]:.2f}±{done.largest_kg[1]:.2f} kg (truth: no payload)",
            flush=True,
        )


if __name__ == "__main__":
    main()
