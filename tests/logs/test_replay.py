# SPDX-License-Identifier: Apache-2.0
"""The missing force is measured right, rivals learn what they should, and adapters run over recordings as if live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.adaptation.factory import bare_adapter, weights_of
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.robot import load_robot
from metarl_robot.logs.cells import measure
from metarl_robot.logs.recording import LogError, Recording
from metarl_robot.logs.replay import RIVALS, Evaluation, evaluate, evaluate_all
from metarl_robot.logs.rivals import LeastSquares, Ridge
from metarl_robot.logs.samples import samples_of
from metarl_robot.logs.scores import AFTER_S, summary
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.payload.body import Payload
from tests.logs.conditions import CONDITIONS, outcomes

ROBOT = load_robot("panda")
PAYLOAD = Payload(1.3, np.array([0.02, -0.01, 0.06]), 1.3 * np.array([2e-3, 1.5e-3, 1e-3, 0.0, 0.0, 0.0]))


def exact(duration_s: float = 6.0, hz: float = 500.0, mass: bool = True, coulomb_nm: float = 0.4) -> Recording:
    """A motion with the efforts that it needs, without noise."""
    time_s = np.arange(0.0, duration_s, 1.0 / hz)
    omega, phase = 2.0 * np.pi * np.array([0.3, 0.7]), np.arange(14).reshape(7, 2)
    angle = omega * time_s[:, None, None] + phase
    amplitude = np.array([0.25, 0.15])
    q = ROBOT.home + (amplitude * np.sin(angle)).sum(-1)
    v = (amplitude * omega * np.cos(angle)).sum(-1)
    a = -(amplitude * omega**2 * np.sin(angle)).sum(-1)
    effort = ArmDynamics(ROBOT).inverse_dynamics(q, v, a, PAYLOAD.inertial_parameters() if mass else None)
    return Recording("exact", time_s, q, v, effort + coulomb_nm * np.tanh(v / 0.02))


@pytest.mark.parametrize("hz", [50.0, 333.0, 1000.0])
def test_without_a_difference_nothing_is_missing(hz: float) -> None:
    cells = measure(ArmDynamics(ROBOT), exact(3.0, hz, mass=False, coulomb_nm=0.0))
    worst = np.abs(cells.residual / ROBOT.effort_limit).max()
    assert cells.usable.all() and worst < (0.002 if hz > 100.0 else 0.02)  # at 50 Hz, means over 80 ms


def test_the_missing_force_is_that_of_payload_and_friction() -> None:
    recording = exact()
    cells = measure(ArmDynamics(ROBOT), recording)
    middle = 0.5 * (cells.time_s[1:] + cells.time_s[:-1])
    at = np.searchsorted(recording.time_s, middle)
    dynamics, step_s = ArmDynamics(ROBOT), 1.0 / 500.0
    acceleration = np.gradient(recording.v, step_s, axis=0)[at]
    nominal = dynamics.inverse_dynamics(recording.q[at], recording.v[at], acceleration)
    turning = (np.abs(recording.v[at]) < 0.1).any(axis=1)
    missed = (cells.residual - (nominal - recording.effort[at]))[~turning]
    assert np.abs(missed / ROBOT.effort_limit).max() < 0.005


def test_rivals_recover_parameters() -> None:
    rng, true = np.random.default_rng(1000), np.array([1.3, -0.4, 0.7])
    unit, squares, ridge = np.full(2, 0.1), LeastSquares(3, np.full(2, 0.1), 0.05), Ridge(3, np.full(2, 0.1))
    assert unit.shape == (2,)
    for _ in range(200):
        phi = rng.normal(size=(2, 3))
        force = phi @ true + 0.1 * rng.normal(size=2)
        squares.learn(phi, force)
        ridge.learn(phi, force)
        predicted = ridge.predict(phi[None])[0]
    mean, std = squares.estimate
    assert np.all(np.abs(mean - true) < 3.0 * std) and np.all(std < 0.02)
    assert predicted == pytest.approx(phi @ true, abs=0.1)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(ROBOT, exact(), ("none", "disturbance_observer", "inertial", "regression"))


def test_every_predictor_is_scored_and_none_is_worse_than_nominal(evaluation: Evaluation) -> None:
    assert tuple(evaluation.rows) == (*RIVALS, "disturbance_observer", "inertial", "regression")
    scores = summary(ROBOT, [evaluation])
    for name, row in scores["rows"].items():
        assert row["after"][3] is None  # the log is shorter than 10 s
        assert all(entry["over_nominal"] <= 1.0 for entry in row["after"][:3]), name
    assert scores["best_rival"][:3] != [None] * 3 and scores["best_rival"][3] is None
    assert [entry["after_s"] for entry in scores["rows"]["hold"]["after"][:3]] == list(AFTER_S[:3])


def test_models_of_payload_and_friction_predict_and_weigh_it(evaluation: Evaluation) -> None:
    scores = summary(ROBOT, [evaluation])["rows"]
    for name, worst in (("least_squares", 0.03), ("ridge", 0.1), ("inertial", 0.1), ("regression", 0.03)):
        assert scores[name]["after"][2]["over_nominal"] < worst, name
    for name in ("least_squares", "inertial", "regression"):
        mass, std = (each[-1, 0] for each in vars(evaluation.rows[name].estimates["payload"]).values())
        assert mass == pytest.approx(PAYLOAD.mass_kg, rel=0.05) and abs(mass - PAYLOAD.mass_kg) < 3.0 * std
    assert scores["inertial"]["next_velocity_rad_s"] < 0.5 * scores["nominal"]["next_velocity_rad_s"]


def test_without_the_motors_damping_adapters_predict_as_well_as_the_best_rival() -> None:
    sensed, rng = exact(5.0), np.random.default_rng(1000)
    effort = sensed.effort - sensed.v + 0.07 * rng.normal(size=sensed.v.shape)  # at the links, 1 Nm s/rad of damping
    found = evaluate(ROBOT, replace(sensed, effort=effort), ("disturbance_observer", "inertial", "last_layer"))
    rows = summary(ROBOT, [found])["rows"]
    for i in range(2):  # after 1 and 3 s
        errors = {name: row["after"][i]["error_percent_of_limit"] for name, row in rows.items()}
        best = min(errors[name] for name in (*RIVALS, "disturbance_observer"))
        assert max(errors["inertial"], errors["last_layer"]) < 1.02 * best < 0.5 * errors["nominal"]


def test_the_future_does_not_change_what_was_predicted() -> None:
    whole = exact(4.0)
    kept = whole.time_s < 3.0
    part = Recording("part", *(each[kept] for each in (whole.time_s, whole.q, whole.v, whole.effort)))
    short, long = (evaluate(ROBOT, each, ("last_layer",)) for each in (part, whole))
    count = len(short.time_s)
    assert 0 < count < len(long.time_s)
    for name, row in short.rows.items():
        # The delay of the efforts, to which forces are measured, is that of the whole recording.
        np.testing.assert_allclose(row.force, long.rows[name].force[:count], rtol=2e-2, atol=2e-3, err_msg=name)


def test_ridge_is_not_told_the_efforts_that_it_predicts() -> None:
    recording, rng = exact(), np.random.default_rng(1000)
    other = replace(recording, effort=recording.effort + rng.normal(size=recording.effort.shape))
    needed = [measure(ArmDynamics(ROBOT), each).required for each in (recording, other)]
    np.testing.assert_allclose(*needed, atol=1e-9)
    assert np.abs(needed[0]).max() > 10.0


def test_a_joint_at_rest_does_not_count_unless_it_never_moves() -> None:
    whole = exact(6.0)
    q, v = whole.q.copy(), whole.v.copy()
    rests = (whole.time_s > 2.0) & (whole.time_s < 5.0)
    q[rests, 3], v[rests, 3] = q[np.flatnonzero(rests)[0], 3], 0.0
    q[:, 5], v[:, 5] = ROBOT.home[5], 0.0
    found = evaluate(ROBOT, Recording("rest", whole.time_s, q, v, whole.effort), ())
    force, resting = found.rows["nominal"].force, (found.time_s > 2.1) & (found.time_s < 4.4)
    assert np.isnan(force[resting, 3]).all() and np.isfinite(force[:, 5]).all()
    assert np.isfinite(force[found.time_s < 1.4, 3]).all()
    row = summary(ROBOT, [found])["rows"]["nominal"]["after"][0]
    assert np.isfinite(row["error_percent_of_limit"])


def test_a_gap_is_not_predicted_across() -> None:
    whole = exact(5.0)
    kept = (whole.time_s < 2.0) | (whole.time_s > 2.3)
    found = evaluate(ROBOT, Recording("gap", *(x[kept] for x in (whole.time_s, whole.q, whole.v, whole.effort))), ())
    assert not np.any((found.time_s > 1.5) & (found.time_s < 2.3))
    assert np.all(np.isfinite(found.rows["ridge"].force)) and found.time_s.max() > 4.0


@pytest.mark.parametrize(("hz", "expected_hz"), [(50.0, 50.0), (333.0, 166.5), (1000.0, 200.0)])
def test_samples_come_at_about_the_control_rate(hz: float, expected_hz: float) -> None:
    recording = exact(2.0, hz)
    samples = samples_of(recording, ROBOT.control_period_s)
    assert 1.0 / samples.period_s == pytest.approx(expected_hz, rel=1e-3)
    stride = round(hz / expected_hz)
    between = recording.effort[3 * stride : 4 * stride + 1]
    np.testing.assert_allclose(samples.effort[3], 0.5 * (between[1:] + between[:-1]).mean(axis=0))
    np.testing.assert_array_equal(samples.q[3], recording.q[3 * stride])


@pytest.mark.parametrize(("rate_hz", "expected_hz"), [(None, 200.0), (0.0, 400.0), (100.0, 100.0)])
def test_another_rate_of_the_samples_can_be_asked_for(rate_hz: float | None, expected_hz: float) -> None:
    (found,) = evaluate_all(ROBOT, [exact(1.5, 400.0)], (), rate_hz=rate_hz)
    assert 1.0 / found.period_s == pytest.approx(expected_hz, rel=1e-3)


def test_several_processes_give_the_same_and_report_each_predictor() -> None:
    robot, time_s = load_robot("planar2"), np.arange(0.0, 2.0, 0.005)
    q = robot.home + np.stack([np.sin(time_s), np.cos(2.0 * time_s)], axis=1)
    v = np.stack([np.cos(time_s), -2.0 * np.sin(2.0 * time_s)], axis=1)
    logs = [Recording(name, time_s, q, v, np.full_like(q, effort)) for name, effort in (("a", 0.5), ("b", -1.0))]
    found, said = {}, set()
    for processes in (1, 2):
        found[processes] = evaluate_all(
            robot, logs, ("disturbance_observer",), lambda phase, *_: said.add(phase), processes=processes
        )
    for one, two in zip(found[1], found[2], strict=True):
        assert one.source == two.source and tuple(one.rows) == tuple(two.rows) == (*RIVALS, "disturbance_observer")
        for name, row in one.rows.items():
            np.testing.assert_array_equal(row.force, two.rows[name].force)
            np.testing.assert_array_equal(row.next_velocity, two.rows[name].next_velocity)
    assert not np.array_equal(found[1][0].rows["nominal"].force, found[1][1].rows["nominal"].force)
    assert said == {"measure", *(f"{name} {i}/2" for name in ("rivals", "disturbance_observer") for i in (1, 2))}


@pytest.mark.parametrize("name", ["inertial", "regression", "disturbance_observer"])
def test_an_adapter_that_is_not_asked_for_contexts_learns_the_same(name: str) -> None:
    samples = samples_of(exact(2.0), ROBOT.control_period_s)
    asked, other = (
        bare_adapter(name, ROBOT, ArmDynamics(ROBOT), AdapterTuning(20.0), weights_of(name, ROBOT, None))
        for _ in range(2)
    )
    for k in range(len(samples.time_s)):
        context = asked.update(samples.state(k), samples.effort[max(k - 1, 0)], samples.period_s)
        other.advance(samples.state(k), samples.effort[max(k - 1, 0)], samples.period_s)
    np.testing.assert_array_equal(other.context.mean, context.mean)
    np.testing.assert_array_equal(other.context.std, context.std)


def test_a_recording_that_is_too_short_is_refused() -> None:
    with pytest.raises(LogError, match="an evaluation needs 0.5 s"):
        evaluate(ROBOT, exact(0.4), ())


@pytest.mark.slow
@pytest.mark.parametrize("condition", ["1.2 kg, 50 Hz", "1.2 kg, Stribeck, lost rows"])
def test_adapters_predict_recordings_of_machines_unlike_the_defaults(condition: str) -> None:
    for name, done in outcomes(CONDITIONS[condition], 1000).items():
        assert max(done.over_nominal) < 0.5, name
        assert max(done.over_rival) < 1.1, name
        assert abs(done.mass_kg - done.true_kg) < 2.0 * done.std_kg, name
