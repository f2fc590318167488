# SPDX-License-Identifier: Apache-2.0
"""Evaluation: the JSON others read, the same numbers on any number of processes, clear refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import load_robot
from metarl_robot.sim.episode_scores import EpisodeResult
from metarl_robot.sim.evaluate import Evaluation, evaluate, run_one

PLANAR = load_robot("planar2")
FIELDS = {
    "controller", "scenario", "seed", "rmse_before_m", "rmse_transient_m", "rmse_after_m", "joint_rmse_after_rad",
    "settle_s",
    "violations", "failed_steps", "step_ms_median", "step_ms_p99", "payload_mass_error_kg", "payload_mass_std_kg",
    "rmse_m", "crashed", "settled_within_m", "false_changes_per_min", "payload_mass_error_kg_4s",
    "payload_mass_std_kg_4s",
}  # fmt: skip
CONTROLLERS = ["pid", "computed_torque"]


def untimed(evaluation: Evaluation) -> list[EpisodeResult]:
    return [replace(episode, step_ms_median=0.0, step_ms_p99=0.0) for episode in evaluation.episodes]


@pytest.mark.slow
def test_results_do_not_depend_on_processes_and_json_has_the_fields() -> None:
    calls: list[tuple[int, int]] = []
    one = evaluate(
        PLANAR, "heldout", CONTROLLERS, [0], jobs=1, progress=lambda done, total, _: calls.append((done, total))
    )
    two = evaluate(PLANAR, "heldout", CONTROLLERS, [0], jobs=2)
    assert untimed(one) == untimed(two)
    assert calls == [(k, 6) for k in range(1, 7)]
    content = json.loads(json.dumps(one.to_json(), allow_nan=False))
    assert set(content) == {"robot", "suite", "settings", "episodes", "summary"} and content["settings"] == {}
    assert (content["robot"], content["suite"], len(content["episodes"])) == ("planar2", "heldout", 6)
    assert all(set(row) == FIELDS for row in content["episodes"])
    assert set(content["summary"]) == set(CONTROLLERS)
    scores = FIELDS - {"controller", "scenario", "seed"} | {"rmse_after_m_p90", "rmse_after_m_worst"}
    assert all(set(row) == scores for row in content["summary"].values())
    after = [row["rmse_after_m"] for row in content["episodes"] if row["controller"] == "pid"]
    assert content["summary"]["pid"]["rmse_after_m"] == np.median(after)


@pytest.mark.slow
def test_one_run_with_its_log_equals_the_evaluation_row() -> None:
    whole = evaluate(PLANAR, "nominal", ["computed_torque"], [2])
    alone = run_one(PLANAR, "nominal", "undisturbed", 2, "computed_torque")
    assert untimed(whole) == [replace(alone.result, step_ms_median=0.0, step_ms_p99=0.0)]


@pytest.mark.slow
def test_overrides_reach_the_controller() -> None:
    stiff, soft = (
        evaluate(PLANAR, "nominal", ["computed_torque"], [0], overrides=o)
        for o in (None, {"computed_torque": {"kp": 20.0, "kd": 9.0}})
    )
    assert soft.episodes[0].rmse_after_m != stiff.episodes[0].rmse_after_m


@pytest.mark.slow
def test_settling_is_judged_beside_the_oracle_of_the_same_run() -> None:
    both = evaluate(PLANAR, "nominal", ["pid", "oracle_mpc"], [0])
    for pid, oracle in zip(both.episodes[::2], both.episodes[1::2], strict=True):
        bound = max(2.0 * oracle.rmse_after_m, 2e-4)
        assert pid.settled_within_m == oracle.settled_within_m == bound
        assert pid.settle_s is None and oracle.settle_s is not None


def row(seed: int, **scores) -> EpisodeResult:
    estimates = {"payload_mass_error_kg": scores.pop("payload_mass_error_kg", None), "payload_mass_std_kg": None}
    blank = EpisodeResult("c", "pickup", seed, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0.0, 0.0, estimates)
    return replace(blank, **scores)


def test_summary_of_missing_and_signed_scores() -> None:
    rows = [
        row(0, settle_s=1.0, payload_mass_error_kg=-0.4, rmse_after_m=1.0),
        row(1, settle_s=None, payload_mass_error_kg=0.2, rmse_after_m=2.0),
        row(2, settle_s=2.0, payload_mass_error_kg=0.3, rmse_after_m=11.0),
    ]
    summary = Evaluation("planar2", "heldout", tuple(rows)).summary()["c"]
    assert summary["settle_s"] == 2.0
    assert summary["payload_mass_error_kg"] == pytest.approx(0.3)  # of the magnitudes: signs do not cancel
    assert summary["payload_mass_std_kg"] is None
    assert summary["rmse_after_m_worst"] == 11.0
    assert summary["rmse_after_m"] == 2.0 and summary["rmse_after_m_p90"] == pytest.approx(
        np.percentile([1, 2, 11], 90)
    )
    never = Evaluation("planar2", "heldout", tuple(replace(r, settle_s=None) for r in rows[:2])).summary()["c"]
    assert never["settle_s"] is None


def test_what_cannot_be_evaluated_is_refused_before_anything_runs() -> None:
    def no_episode(*_: object) -> None:
        raise AssertionError("an episode ran")

    with pytest.raises(UnknownNameError, match="computed_torque"):
        evaluate(PLANAR, "heldout", ["pid", "computed-torque"], [0], progress=no_episode)
    with pytest.raises(UnknownNameError, match="heldout"):
        evaluate(PLANAR, "unseen", ["pid"], [0], progress=no_episode)
    with pytest.raises(MetaRLError, match="kp"):
        evaluate(PLANAR, "heldout", ["pid"], [0], overrides={"pid": {"kp": -1.0}}, progress=no_episode)
    for arguments in (([], [0], 1), (["pid"], [], 1), (["pid"], [0], 0)):
        with pytest.raises(MetaRLError, match="evaluate"):
            evaluate(PLANAR, "heldout", *arguments)
