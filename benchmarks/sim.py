# SPDX-License-Identifier: Apache-2.0
"""Benchmark of data collection, against a plain loop and MuJoCo's own rollouts.

Data collection simulates randomised tasks and motions with a controller and sensors, and logs everything.

    ours         draws tasks and motions, then simulates them in closed loop, as metarl_robot.sim.dataset.collect does
    plain loop   one robot after the other in Python, under the same tasks, with the same sensors and logging; it
                 replays the commands that ours logged, so it draws no motions and evaluates no controller
    engine       MuJoCo's own rollouts of the same worlds, steps and threads, with the forces of all steps in one call:
                 no delays, sensors, motors, air or controller, and no Python between steps; with MuJoCo's default
                 profiling, which the others switch off (metarl_robot.sim.profiling)

Times are of 1000 physics steps of one world.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import mujoco
import numpy as np
from mujoco.batch import Batch
from mujoco.rollout import Rollout
from numpy.typing import NDArray

from metarl_robot.benchmarks.catalogue import Report
from metarl_robot.benchmarks.record import Benchmark, Row, SameAnswer, against
from metarl_robot.benchmarks.timing import Call, interleaved
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.sim.kinds import RolloutArrays, RolloutMaker, simulation
from metarl_robot.sim.profiling import profiling
from metarl_robot.sim.quadrotor.plant import QuadrotorBatch

Array = NDArray[np.float64]

_ROBOTS = ("panda", "x500")
_WORLDS, _STEPS = 250, 300  # control steps: 1.5 s, as in training data
_QUICK_WORLDS, _QUICK_STEPS = 20, 60
_LOOP_SHARE = 10  # the plain loop runs this many times fewer worlds
_SEED = 4
_BATCH, _ROLLOUT, _LOOP = "mujoco.batch, raw", "mujoco.rollout, raw", "plain Python loop"
_REMARKS = (
    "Times are of 1000 physics steps of one world. Against an engine, the ratio is the remaining share of its speed "
    "after drawing tasks and motions, simulating delays, sensors and (x500) motors, air and wind, evaluating a "
    "controller, and logging everything. From Python, MuJoCo reads the clock dozens of times a step for its own "
    "profiling; this is on (the default) for the engines, and off for ours and the plain loop.",
    "Same answer: final positions and velocities of all worlds (norm). The engines get the forces that ours gave to "
    "MuJoCo at each physics step, in one call. The plain loop replays the commands that ours logged (in single "
    "precision), and draws nothing.",
)


def run(report: Report, quick: bool) -> Benchmark:
    """Measure Panda and x500, each against three peers."""
    worlds, steps = (_QUICK_WORLDS, _QUICK_STEPS) if quick else (_WORLDS, _STEPS)
    rows: list[Row] = []
    for number, name in enumerate(_ROBOTS):
        report(f"sim: {name}", number, len(_ROBOTS))
        rows += _rows(load_robot(name), worlds, steps, repetitions=1 if quick else 3)
    report("sim", len(_ROBOTS), len(_ROBOTS))
    return Benchmark("sim", tuple(rows), _REMARKS)


def _rows(robot: Robot, worlds: int, steps: int, repetitions: int) -> list[Row]:
    threads = len(os.sched_getaffinity(0))
    asked, few = _asked(robot, worlds, steps), max(1, worlds // _LOOP_SHARE)
    peers: dict[str, Callable[[], Array]] = {
        _BATCH: _batch(asked, threads),
        _ROLLOUT: _rollout(asked, threads),
        _LOOP: lambda: _loop(robot, asked, few),
    }
    finals = {name: call() for name, call in peers.items()}
    maker = simulation(robot).rollout_maker()
    calls: dict[str, Call] = {
        "ours": lambda i: _collect(maker, worlds, steps, threads),
        **{name: _ignoring(peers[name]) for name in peers},
    }
    thousands = asked.forces.shape[1] / 1000.0
    times = {
        name: seconds / (thousands * (few if name == _LOOP else worlds))
        for name, seconds in interleaved(calls, 1, repetitions, warm_up=0).items()
    }
    case = f"{robot.name}: {worlds} worlds, {asked.forces.shape[1]} steps, {threads} threads"
    logged = np.concatenate([asked.logged["q"][:few, -1], asked.logged["v"][:few, -1]], axis=1)
    rows = []
    for name, final in finals.items():
        ours = logged if name == _LOOP else asked.final
        same = SameAnswer("last states, norm", float(np.linalg.norm(ours)), float(np.linalg.norm(final)))
        speeds = {
            "steps/s": 1e3 / float(np.median(times["ours"])),
            "peer's steps/s": 1e3 / float(np.median(times[name])),
        }
        details = {**speeds, "largest difference of states": float(np.abs(ours - final).max())}
        rows.append(against(case, times["ours"], name, times[name], same, details=details))
    return rows


def _ignoring(call: Callable[[], Array]) -> Call:
    return lambda problem: call()


def _collect(maker: RolloutMaker, worlds: int, steps: int, threads: int) -> tuple[list[Any], RolloutArrays]:
    """Run our collection; rollouts beyond the robot's limits, which `collect` draws again, count as any others."""
    rng = np.random.default_rng(_SEED)
    tasks = [maker.draw_task(rng, None) for _ in range(worlds)]
    return tasks, maker.simulate(tasks, rng, steps, threads)[0]


@dataclass(frozen=True)
class _Asked:
    """Inputs that ours gave to MuJoCo in one collection of T worlds and N physics steps, and the result.

    models: T. start: (T, nstate) full physics. forces: (T, N, m) controls or generalised forces, according to `spec`.
    final: (T, nq + nv).
    """

    tasks: list[Any]
    logged: RolloutArrays
    models: list[mujoco.MjModel]
    start: Array
    forces: Array
    spec: int
    final: Array


class _ArmWitness(Batch):
    """A batch of arms that records its inputs."""

    spec = int(mujoco.mjtState.mjSTATE_CTRL)
    made: _ArmWitness

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.asked: list[Array] = []
        _ArmWitness.made = self

    def rollout(self, nstep: int, control: Any = None, *arguments: Any, **named: Any) -> Any:
        if not self.asked:
            self.start = self.full_physics()
        self.asked.append(np.array(control))
        return super().rollout(nstep, control, *arguments, **named)

    def full_physics(self) -> Array:
        """Current full physics state (T, nstate): time, positions, velocities."""
        moving = (self.bind(name).reshape(self.nsim, -1) for name in ("time", "qpos", "qvel"))
        return np.concatenate(list(moving), axis=1)

    def models(self) -> list[mujoco.MjModel]:
        return [self.get_model(i) for i in range(self.nsim)]

    @property
    def forces(self) -> Array:
        """Controls of all steps (T, N, m)."""
        return np.concatenate(self.asked, axis=1)


class _QuadrotorWitness(QuadrotorBatch):
    """A batch of quadrotors that records its state before a rollout; QuadrotorBatch itself records the forces."""

    spec = int(mujoco.mjtState.mjSTATE_QFRC_APPLIED)
    made: _QuadrotorWitness

    def follow(self, *arguments: Any, **named: Any) -> None:
        _QuadrotorWitness.made, self.start = self, self.full_physics()
        super().follow(*arguments, **named)

    def full_physics(self) -> Array:
        """Current full physics state (T, nstate): time, positions, velocities."""
        data = [self.data(i)[1] for i in range(len(self.tasks))]
        return np.array([[d.time, *d.qpos, *d.qvel] for d in data])

    def models(self) -> list[mujoco.MjModel]:
        return [self.data(i)[0] for i in range(len(self.tasks))]

    @property
    def forces(self) -> Array:
        """Generalised forces of all steps (T, N, m)."""
        return self.applied_force


def _asked(robot: Robot, worlds: int, steps: int) -> _Asked:
    """Record our inputs to MuJoCo, in one thread, so that one batch holds all worlds."""
    witnesses: dict[str, Any] = {
        "metarl_robot.sim.euclidean_batch.Batch": _ArmWitness,
        "metarl_robot.sim.quadrotor.rollouts.QuadrotorBatch": _QuadrotorWitness,
    }
    with contextlib.ExitStack() as patches:
        for name, witness in witnesses.items():
            patches.enter_context(patch(name, witness))
        tasks, logged = _collect(simulation(robot).rollout_maker(), worlds, steps, threads=1)
    seen = (_QuadrotorWitness if robot.kind == "quadrotor" else _ArmWitness).made
    return _Asked(tasks, logged, seen.models(), seen.start, seen.forces, seen.spec, seen.full_physics()[:, 1:])


def _batch(asked: _Asked, threads: int) -> Callable[[], Array]:
    """Call of mujoco.batch: worlds with their own models; returns positions and velocities."""
    batch = Batch(asked.models[0], len(asked.models), threads)
    batch.set_models(asked.models)
    model = batch.model

    def call() -> Array:
        batch.reset(stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        batch.bind("qpos")[:], batch.bind("qvel")[:] = asked.start[:, 1 : 1 + model.nq], asked.start[:, 1 + model.nq :]
        with profiling():
            record = batch.rollout(asked.forces.shape[1], asked.forces, asked.spec, record=("qpos", "qvel"))
        return np.concatenate([record["qpos"][:, -1], record["qvel"][:, -1]], axis=1)

    return call


def _rollout(asked: _Asked, threads: int) -> Callable[[], Array]:
    """Call of mujoco.rollout: the same; it records the full physics state."""
    data = [mujoco.MjData(asked.models[0]) for _ in range(threads)]
    pool = Rollout(nthread=threads if threads > 1 else 0)

    def call() -> Array:
        with profiling():
            states, _ = pool.rollout(asked.models, data, asked.start, asked.forces, control_spec=asked.spec)
        return np.asarray(states[:, -1, 1:])

    return call


def _loop(robot: Robot, asked: _Asked, worlds: int) -> Array:
    """Simulate the robots with the evaluation's plant, one after the other.

    Returns their last true states (T, nq + nv).
    """
    period, logged = robot.control_period_s, asked.logged
    plant = simulation(robot).plant(asked.tasks[0])
    finals = []
    for task, q, v, efforts in zip(
        asked.tasks[:worlds], logged["q"], logged["v"], logged["effort"].astype(float), strict=False
    ):
        plant.set_task(task)
        measured, rows = plant.reset(q[0].astype(float), v[0].astype(float)), []
        for effort in efforts:
            rows.append((plant.truth.q, plant.truth.v, measured.q, measured.v, effort))
            measured = plant.step(effort, period)
        finals.append(np.concatenate([plant.truth.q, plant.truth.v]))
    return np.array(finals)
