# SPDX-License-Identifier: Apache-2.0
"""The campaign of faults in its short form, and proofs that it would see an unsafe command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.cli.kept_results import Results
from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.sim import faults_loop
from metarl_robot.sim.faults import KINDS, kind_of_fault
from metarl_robot.sim.faults_run import run_fault
from metarl_robot.sim.faults_witness import Witness

SIMPLE = {"panda": "computed_torque", "x500": "se3"}
LEARNED = ("nan", "late", "gate_stopped", "clock_leap", "solver_overrun")


@pytest.fixture(scope="module", params=SIMPLE)
def robot(request: pytest.FixtureRequest) -> Robot:
    return load_robot(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_no_unsafe_command_reaches_the_plant(robot: Robot, kind: str) -> None:
    row = run_fault(robot, kind, 0, make_controller(robot, SIMPLE[robot.name]))
    assert not row.unsafe, row


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEARNED)
def test_no_unsafe_command_reaches_the_plant_with_a_learned_controller(robot: Robot, kind: str) -> None:
    row = run_fault(robot, kind, 1)
    assert not row.unsafe, row


@pytest.mark.slow
def test_a_run_is_the_same_again(robot: Robot) -> None:
    controller = make_controller(robot, SIMPLE[robot.name])
    first, second = (run_fault(robot, "reordered", 3, controller) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("kind", "seed", "latched"),
    [("clock_reset", 3, True), ("clock_pause", 1, None), ("sensor_frozen", 1, None)],
)
def test_a_gate_that_loses_its_clock_or_its_sensor_is_not_blind_for_good(
    robot: Robot, kind: str, seed: int, latched: bool | None
) -> None:
    row = run_fault(robot, kind, seed, make_controller(robot, SIMPLE[robot.name]))
    assert row.state in ("passing", "holding", "landed") and not row.crashed, row
    assert latched is None or row.latched, row


def test_a_gate_that_is_gone_is_unsafe_without_the_last_hop(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults_loop, "COMMAND_DEADLINE_S", 0.0)
    row = run_fault(robot, "gate_killed", 0, make_controller(robot, SIMPLE[robot.name]))
    assert row.unsafe and row.reached.late_s > 0.5


def test_the_witness_sees_a_command_beyond_a_limit(robot: Robot) -> None:
    witness = Witness(robot)
    witness.received(0.0, 1.01 * robot.effort_limit)
    assert witness.reached.unsafe and witness.reached.effort_ratio > 1.0


def test_the_witness_allows_one_period_s_change_at_once_and_no_more(robot: Robot) -> None:
    step = robot.effort_rate_limit * robot.control_period_s
    low = robot.effort_lower
    for changes, unsafe in (((0.9,), False), ((0.5, 0.6), True), ((1.1,), True)):
        witness = Witness(robot)
        efforts = [low, *(low + step * np.sum(changes[: k + 1]) for k in range(len(changes)))]
        for effort in efforts:  # at one and the same time
            witness.received(1.0, effort)
        assert witness.reached.unsafe is unsafe, changes


def test_the_witness_counts_what_is_not_finite_too_old_or_a_stranger_s(robot: Robot) -> None:
    not_finite, old, strange = Witness(robot), Witness(robot), Witness(robot)
    not_finite.not_finite()
    old.acts(0.05, 0.045)
    strange.received(0.0, robot.effort_lower, stranger=True)
    assert all(witness.reached.unsafe for witness in (not_finite, old, strange))


def test_off_is_no_rate_and_no_limit() -> None:
    robot = load_robot("x500")
    witness = Witness(robot)
    for time_s, effort in ((0.0, robot.hover_thrust), (0.001, np.zeros(4))):
        witness.received(time_s, effort)
    assert not witness.reached.unsafe


def test_every_kind_says_what_it_is() -> None:
    assert all(kind_of_fault(name).text and not kind.text.endswith(".") for name, kind in KINDS.items())


def run_command(folder: Path, *more: str) -> list[dict[str, object]]:
    words = [
        "faults",
        "planar2",
        "--kind",
        "mpc_killed",
        "--out",
        str(folder),
        "--json",
        "-",
        *more,
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["cells"]


def test_a_campaign_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    run_command(tmp_path, "--seeds", "1")
    kept = (tmp_path / "lockstep_planar2.jsonl").read_text()
    with (tmp_path / "lockstep_planar2.jsonl").open("a") as file:
        file.write('{"robot": "plan')  # the line that Ctrl-C cut off
    assert run_command(tmp_path, "--seeds", "2", "--resume")[0]["runs"] == 2
    assert (tmp_path / "lockstep_planar2.jsonl").read_text().startswith(kept)
    assert len(Results(tmp_path, resume=True).rows()) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), [("clock_leap", 5), ("clock_reset", 1)])
def test_an_arm_whose_clock_changes_in_motion_comes_to_rest_within_its_velocity_limits(kind: str, seed: int) -> None:
    row = run_fault(load_robot("panda"), kind, seed)
    assert row.velocity_violations == 0 and row.recovered, row


def test_a_reference_that_no_robot_can_follow_is_survived(robot: Robot) -> None:
    row = run_fault(robot, "solver_infeasible", 0)
    assert not row.crashed and row.velocity_violations == 0 and row.recovered, row
