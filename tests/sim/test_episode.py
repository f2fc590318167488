# SPDX-License-Identifier: Apache-2.0
"""Closed-loop runs: timing of changes, scores from known errors, determinism."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Command, Context, Reference, State, Status
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.payload import PAYLOAD
from metarl_robot.sim.arm.geometry import end_effector_positions
from metarl_robot.sim.arm.task import Task, nominal_task
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.episode_scores import score
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.payload import Payload
from metarl_robot.sim.run_log import Log
from metarl_robot.sim.scenario import Scenario
from metarl_robot.sim.settling import RMS_WINDOW_S, running_rms
from metarl_robot.trajectories.splines import Hold

PLANAR = load_robot("planar2")


class Told:
    """PD with the gravity of the nominal arm; estimates the payload 0.1 kg off; fails once."""

    def __init__(self) -> None:
        self.dynamics = ArmDynamics(PLANAR)
        self.tasks: list[Task] = []
        self.steps = 0
        self.resets = 0

    def reset(self) -> None:
        self.tasks, self.steps = [], 0
        self.resets += 1

    def observe_truth(self, task: Task) -> None:
        self.tasks.append(task)

    def step(self, time: float, state: State, reference: Reference) -> Command:
        target = reference.sample(np.array([time]))
        feedback = 200.0 * (target.q[0] - state.q) + 25.0 * (target.v[0] - state.v)
        effort = self.dynamics.inverse_dynamics(state.q, state.v, target.a[0] + feedback)
        self.steps += 1
        status = Status.FAILED if self.steps == 7 else Status.SOLVED
        mass = self.tasks[-1].payload.mass_kg
        return Command(effort, status, context=Context(("payload_mass_kg",), np.array([mass + 0.1]), np.array([0.05])))


def test_run_tells_changes_counts_failures_and_compares_masses() -> None:
    run = simulation(PLANAR).scenario("heldout", "pickup", 0)
    controller = Told()
    episode = run_episode(PLANAR, lambda _: controller, run, "told")
    assert controller.resets == 1 and controller.tasks == [run.initial, run.changes[0][1]]
    result, log = episode.result, episode.log
    assert (result.controller, result.scenario, result.seed) == ("told", "pickup", 0)
    assert result.failed_steps == 1 and list(log.status).index("failed") == 6
    error, std = {"payload_mass_error_kg": 0.1}, {"payload_mass_std_kg": 0.05}
    later = {f"{name}_4s": value for name, value in (error | std).items()}
    assert result.estimates == pytest.approx(error | std | later)
    assert result.false_changes_per_min is None  # it detects none
    assert result.rmse_after_m > 1.5 * result.rmse_before_m  # nobody compensates the payload
    switched = np.flatnonzero(np.diff(log.truth[:, 0]))
    np.testing.assert_allclose(log.times[switched + 1], [5.0])
    assert len(log.times) == 2000 and log.step_s.min() > 0
    np.testing.assert_allclose(log.position, end_effector_positions(PLANAR, log.q))


@pytest.mark.slow
def test_runs_are_deterministic() -> None:
    run = simulation(PLANAR).scenario("heldout", "drop", 1)
    controller = make_controller(PLANAR, "computed_torque")
    logs = [run_episode(PLANAR, lambda _: controller, run).log for _ in range(2)]
    np.testing.assert_array_equal(logs[0].q, logs[1].q)
    np.testing.assert_array_equal(logs[0].effort, logs[1].effort)
    other = run_episode(PLANAR, lambda _: controller, replace(run, noise_seed=run.noise_seed + 1)).log
    assert not np.array_equal(logs[0].q, other.q)


def test_perfect_model_tracks_almost_perfectly() -> None:
    base = simulation(PLANAR).scenario("nominal", "undisturbed", 0)
    run = replace(base, initial=nominal_task(PLANAR))
    result = run_episode(PLANAR, lambda _: make_controller(PLANAR, "computed_torque"), run).result
    assert result.rmse_after_m < 0.002 and result.violations == 0
    assert set(result.estimates.values()) == {None}


def synthetic(error_m: np.ndarray) -> tuple[Scenario, Log]:
    """A run with the tip off by error_m (2000,) in x."""
    count = len(error_m)
    times = np.arange(count) * 0.005
    task = nominal_task(PLANAR)
    loaded = replace(task, payload=Payload(1.0, [0.01, 0, 0], [1e-3] * 3 + [0.0] * 3))
    run = Scenario("made", task, ((5.0, loaded),), Hold(PLANAR.home), 10.0, 3, 0)
    joints, tip = np.zeros((count, 2)), np.zeros((count, 3))
    nan = np.full((count, 1), np.nan)
    position = tip + np.outer(error_m, [1.0, 0.0, 0.0])
    status = np.array(["solved"] * count)
    log = Log(
        times,
        joints + 0.02,
        joints,
        joints,
        joints,
        joints,
        position,
        tip,
        status,
        np.full(count, 0.001),
        PAYLOAD.quantities[:1],
        nan,
        nan,
        nan,
    )
    return run, log


def test_scores_of_known_errors() -> None:
    times = np.arange(2000) * 0.005
    error = np.select([times < 1, times < 5, times < 6, times < 7], [9.0, 0.001, 0.05, 0.01], 0.0015)
    result = score("made", *synthetic(error), violations=4, settled_m=0.002)
    assert result.rmse_before_m == pytest.approx(0.001)
    assert result.rmse_transient_m == pytest.approx(0.05)
    assert result.rmse_after_m == pytest.approx(np.sqrt((0.01**2 + 3 * 0.0015**2) / 4))
    assert result.joint_rmse_after_rad == pytest.approx(0.02)
    assert result.settle_s == pytest.approx(2.25) and result.settled_within_m == 0.002  # from 7 s + one window on
    assert (result.violations, result.failed_steps, result.seed) == (4, 0, 3)
    assert result.step_ms_median == pytest.approx(1.0)
    assert result.estimates["payload_mass_error_kg"] is None


def test_changes_detected_where_nothing_changed_are_counted() -> None:
    """Three before the change, two in the second after it (the pick-up's own), one long after."""
    run, log = synthetic(np.zeros(2000))
    detected = np.sum([log.times >= time for time in (0.5, 1.0, 4.9, 5.05, 5.9, 8.0)], axis=0).astype(float)
    result = score("made", run, replace(log, changes=detected), violations=0, settled_m=0.0002)
    assert result.false_changes_per_min == pytest.approx(4 / 9.0 * 60.0)


@pytest.mark.parametrize(
    ("before_m", "after_m", "oracle_m", "settle_s"),
    [(1e-5, 0.00019, None, 0.0), (1e-5, 0.00021, None, None), (0.95, 0.95, None, None), (0.001, 0.0019, 0.001, 0.0)],
    ids=["within the floor", "beyond it", "as bad before", "within twice the oracle's error"],
)
def test_settling_is_judged_by_an_absolute_bound(before_m, after_m, oracle_m, settle_s) -> None:
    times = np.arange(2000) * 0.005
    result = score("made", *synthetic(np.where(times < 5, before_m, after_m)), violations=0, settled_m=0.0002)
    assert result.settled_beside(oracle_m, 0.0002).settle_s == settle_s


def test_settling_is_judged_by_the_running_rms() -> None:
    """One sample in ten at 2.5 times the bound for good: the root mean square is below the bound."""
    error = np.where(np.arange(2000) % 10 == 0, 0.0005, 0.00005)
    error[1000:1080] = 0.01  # 0.4 s from the change on
    result = score("made", *synthetic(error), violations=0, settled_m=0.0002)
    assert result.settle_s == pytest.approx(0.4 + RMS_WINDOW_S, abs=0.011)


def test_running_rms_is_the_rms_of_the_window() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.001, 0.01, 500))
    values = rng.normal(size=500)
    running = running_rms(times, values, 0.2)
    for i in (0, 7, 250, 499):
        inside = (times <= times[i]) & (times >= times[i] - 0.2)
        assert running[i] == pytest.approx(np.sqrt(np.mean(values[inside] ** 2)))
