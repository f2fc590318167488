# SPDX-License-Identifier: Apache-2.0
"""Benchmark of one adapter update, on data that meta_mpc's adapter received in a closed loop with a change.

It includes the MAML step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.benchmarks.catalogue import Report
from metarl_robot.benchmarks.maml_step import maml_rows
from metarl_robot.benchmarks.record import Benchmark, Row, SameAnswer, against, alone
from metarl_robot.benchmarks.timing import interleaved
from metarl_robot.control.factory import load_config, make_controller
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Context, State
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]

SCENARIOS = {"panda": "pickup", "x500": "payload"}
RIVALS: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "panda": (("inertial", "meta_mpc", {"adapter": "inertial"}), ("disturbance_observer", "offset_free_mpc", {})),
    "x500": (
        ("inertial", "meta_mpc", {"adapter": "inertial"}),
        ("disturbance_observer", "offset_free_mpc", {}),
        ("l1", "l1_mpc", {}),
    ),
}
"""Adapters by name: the controller each belongs to, and the changes of its configuration."""
PEER = "same filter in numpy"
REMARKS = (
    "Samples (state, command, interval) come from a closed loop in which a payload is picked up half-way. Every "
    "adapter gets the same samples.",
    "The peer of last_layer is its own reference implementation: one step of the same Kalman filter in plain numpy, "
    "on the same features.",
    "At the start and after a detected change, every hypothesis processes each sample. These updates are part of the "
    "p99; the line below the row gives their times.",
)


class Sample(NamedTuple):
    """Arguments of one adapter update."""

    state: State
    effort: Array
    dt: float


def run(report: Report, quick: bool) -> Benchmark:
    """Rows of `metarl bench adapt`."""
    rows: list[Row] = []
    for done, (name, scenario) in enumerate(SCENARIOS.items()):
        report("adapters", done, len(SCENARIOS), name)
        rows += _rows(load_robot(name), scenario, 300 if quick else 900, 2 if quick else 5)
    report("adapters", len(SCENARIOS), len(SCENARIOS))
    return Benchmark("adapt", (*rows, *maml_rows(report, quick)), REMARKS)


def _rows(robot: Robot, scenario: str, count: int, repetitions: int) -> list[Row]:
    adapter, samples = _recorded(robot, scenario, count)
    plain = adapter.in_numpy()
    rivals = {name: _adapter(robot, controller, changes) for name, controller, changes in RIVALS[robot.name]}
    changing, same = _same_answer(adapter, plain, samples)
    contestants: dict[str, Adapter] = {"last_layer": adapter, PEER: plain, **rivals}
    calls = {name: _updates(one, samples) for name, one in contestants.items()}
    anew = {name: _from_the_start(one) for name, one in contestants.items()}
    times = interleaved(calls, count, repetitions, prepare=anew)
    settled = {name: 1e6 * times[name].reshape(-1, count)[:, ~changing] for name in ("last_layer", PEER)}
    in_doubt = {name: 1e6 * times[name].reshape(-1, count)[:, changing] for name in ("last_layer", PEER)}
    details = {
        "no change suspected, median [µs]": float(np.median(settled["last_layer"])),
        "no change suspected, p99 [µs]": float(np.percentile(settled["last_layer"], 99)),
        "change suspected, median [µs]": float(np.median(in_doubt["last_layer"])),
        "change suspected, longest [µs]": float(np.median(in_doubt["last_layer"].max(axis=1))),
        "change suspected (peer), median [µs]": float(np.median(in_doubt[PEER])),
        "change suspected (peer), longest [µs]": float(np.median(in_doubt[PEER].max(axis=1))),
    }
    first = against(f"{robot.name}, last_layer", times["last_layer"], PEER, times[PEER], same, details=details)
    return [first, *(alone(f"{robot.name}, {name}", times[name]) for name in rivals)]


def _adapter(robot: Robot, controller: str, changes: dict[str, Any]) -> Adapter:
    found: Adapter = _made(robot, controller, changes).adapter
    return found


def _made(robot: Robot, controller: str, changes: dict[str, Any]) -> Any:
    return make_controller(robot, controller, load_config(robot, controller, changes))


def _recorded(robot: Robot, scenario: str, count: int) -> tuple[MomentumFilter, list[Sample]]:
    """Record a closed-loop run of meta_mpc with a change half-way; returns its adapter and the adapter's samples."""
    sim = simulation(robot)
    episode = sim.scenario("heldout", scenario, 0)
    controller, plant = _made(robot, "meta_mpc", {}), sim.plant(episode.initial, 0)
    adapter: MomentumFilter = controller.adapter
    samples: list[Sample] = []
    controller.inner.adapter = _Listening(adapter, samples)
    start = episode.reference.sample(np.zeros(1))
    state = plant.reset(start.q[0], start.v[0])
    while len(samples) < count:
        if len(samples) == count // 2:
            plant.set_task(episode.changes[0][1])
        state = plant.step(controller.step(plant.stamp, state, episode.reference).effort, robot.control_period_s)
    return adapter, samples


class _Listening:
    """Adapter that records the arguments of its updates."""

    def __init__(self, adapter: Adapter, samples: list[Sample]) -> None:
        self._adapter, self._samples = adapter, samples

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self._samples.append(Sample(state, effort.copy(), dt))
        return self._adapter.update(state, effort, dt)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)


def _updates(adapter: Adapter, samples: list[Sample]) -> Callable[[int], object]:
    return lambda i: adapter.update(*samples[i])


def _from_the_start(adapter: Adapter) -> Callable[[int], object]:
    return lambda i: adapter.reset() if i == 0 else None


def _same_answer(
    adapter: MomentumFilter, plain: MomentumFilter, samples: list[Sample]
) -> tuple[NDArray[np.bool_], SameAnswer]:
    """Compare two adapters on the same samples.

    Returns which samples were processed with several hypotheses, and the first context entry of both at the end. The
    metric's name states the largest difference of any entry at any sample.
    """
    adapter.reset()
    plain.reset()
    changing, largest = np.zeros(len(samples), dtype=bool), 0.0
    for i, sample in enumerate(samples):
        before = adapter.hypotheses
        ours, other = adapter.update(*sample), plain.update(*sample)
        changing[i] = before > 0 or adapter.hypotheses > 0
        largest = max(largest, float(np.abs(ours.mean - other.mean).max()))
    metric = f"{ours.names[0]} at the end (largest difference of any entry at any sample {largest:.1g})"
    return changing, SameAnswer(metric, float(ours.mean[0]), float(other.mean[0]))
