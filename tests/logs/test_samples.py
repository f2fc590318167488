# SPDX-License-Identifier: Apache-2.0
"""Samples of a recording reach an adapter as they would live, however much of the work is done beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.adaptation.feature_spec import feature_map
from metarl_robot.adaptation.stream.command_history import command_history
from metarl_robot.adaptation.stream_cells import Cell, StreamCells
from metarl_robot.core.robot import load_robot
from metarl_robot.logs import sample_cells
from metarl_robot.logs.recording import Recording
from metarl_robot.logs.sample_cells import SampleCells, acting_efforts
from metarl_robot.logs.samples import Samples, Taken, passed, samples_of
from metarl_robot.robots.arm.dynamics import ArmDynamics

ROBOT = load_robot("planar2")
DYNAMICS = ArmDynamics(ROBOT)
PERIOD_S = ROBOT.control_period_s


def recorded(seconds: float = 3.0, hz: float = 400.0) -> Recording:
    """A motion with arbitrary efforts, stamps that jitter, and a gap."""
    rng = np.random.default_rng(1000)
    time_s = np.arange(0.0, seconds, 1.0 / hz)
    time_s = time_s + 0.2 / hz * rng.random(len(time_s))
    time_s = time_s[(time_s < 1.1) | (time_s > 1.2)]
    angle = np.stack([3.0 * time_s, 2.0 * time_s + 1.0], axis=1)
    rate = np.array([3.0, 2.0])
    efforts = rng.normal(size=angle.shape)
    return Recording("made", time_s, ROBOT.home + 0.3 * np.sin(angle), 0.3 * rate * np.cos(angle), efforts)


def taken_of(recording: Recording) -> tuple[np.ndarray, Taken, Samples]:
    samples = samples_of(recording, PERIOD_S)
    return (*passed(ROBOT, DYNAMICS, samples), samples)


def test_cells_computed_many_at_a_time_are_those_of_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_cells, "BATCH", 7)
    _, taken, _ = taken_of(recorded())
    features = feature_map(ROBOT, DYNAMICS, ("payload", "friction"))
    stream = StreamCells(DYNAMICS, features, PERIOD_S)
    known = SampleCells(DYNAMICS, features, taken, PERIOD_S, None)
    for _ in range(2):  # also after a restart
        pairs = []
        for k in range(len(taken.dt)):
            given = taken.state(k), taken.effort[k], float(taken.dt[k])
            pairs.append((stream.take(*given), known.take(*given)))
        both = [pair for pair in pairs if pair[0] is not None or pair[1] is not None]
        assert len(both) > 45
        for live, before in both:
            assert isinstance(live, Cell) and isinstance(before, Cell)
            for one, other in zip(live, before, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
        stream.restart()
        known.restart()


def test_efforts_that_acted_are_those_of_the_filters_history() -> None:
    _, taken, _ = taken_of(recorded())
    history = command_history(taken.effort[0], PERIOD_S, 0.0, compiled=False)
    made, late = acting_efforts(taken.effort, taken.dt, PERIOD_S, 0.0), taken.dt > PERIOD_S
    for k in range(1, len(taken.dt)):
        np.testing.assert_allclose(made[k], history.acting(taken.effort[k], float(taken.dt[k]))[0], atol=1e-12)
        history.update(taken.effort[k], float(taken.dt[k]))
    np.testing.assert_allclose(made[~late], taken.effort[~late])
    assert late.any() and np.abs(made[late] - taken.effort[late]).max() > 0.1


def test_samples_that_no_adapter_would_use_are_left_out_and_their_time_and_effort_are_kept() -> None:
    whole = recorded()
    samples = samples_of(whole, PERIOD_S)
    q = samples.q.copy()
    q[50] += 2.0  # a leap, and back
    usable, taken = passed(ROBOT, DYNAMICS, samples._replace(q=q))
    assert np.flatnonzero(~usable).tolist() == [50] and len(taken.dt) == len(samples.time_s) - 1
    steps = np.diff(samples.time_s)
    assert taken.dt[50] == pytest.approx(steps[49] + steps[50])
    mean = (steps[49] * samples.effort[49] + steps[50] * samples.effort[50]) / (steps[49] + steps[50])
    np.testing.assert_allclose(taken.effort[50], mean)
    np.testing.assert_array_equal(taken.q[50], samples.q[51])


def test_what_passes_is_what_was_recorded() -> None:
    usable, taken, samples = taken_of(replace(recorded(), specific_force=None))
    assert usable.all() and taken.specific_force is None
    np.testing.assert_array_equal(taken.q, samples.q)
    np.testing.assert_array_equal(taken.effort[1:], samples.effort[:-1])
    np.testing.assert_allclose(taken.dt[1:], np.diff(samples.time_s))
