# SPDX-License-Identifier: Apache-2.0
"""A check measures what was put into a recording, and names wrong signs and a missing gravity."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.logs.check import Report, check
from metarl_robot.logs.log_map import LogMap
from metarl_robot.logs.reading import nominal_gravity, read_log
from metarl_robot.logs.recording import LogError, Recording, Repair
from tests.logs.made_log import Machine, Made, make, write_csv

ROBOT = load_robot("panda")
MACHINE = Machine(hz=500.0, coulomb=0.005, dropped=0.01, effort_noise_nm=0.3)


def recording_of(machine: Machine, seed: int = 1000, duration_s: float = 8.0) -> Recording:
    made = make(ROBOT, machine, seed, duration_s)
    return Recording("made", made.time_s, made.q, made.v, made.effort)


@pytest.fixture(scope="module")
def recording() -> Recording:
    return recording_of(MACHINE)


@pytest.fixture(scope="module")
def report(recording: Recording) -> Report:
    return check(ROBOT, recording)


def test_a_good_recording_is_usable(report: Report) -> None:
    assert report.usable and report.verdict == "usable", report.findings
    sure = np.isfinite(report.gravity_slope)
    assert sure.sum() >= 4 and not sure[0]  # the first axis is vertical
    assert np.all(np.abs(report.gravity_slope[sure] - 1.0) < 4.0 * report.gravity_slope_std[sure] + 0.02)
    assert report.repairs == ()


def test_noise_timing_and_delay_are_those_of_the_machine(report: Report) -> None:
    assert report.rate_hz == pytest.approx(500.0, rel=0.02) and report.duration_s == pytest.approx(8.0, abs=0.05)
    assert report.position_noise == pytest.approx(MACHINE.position_noise_rad, rel=0.15)
    assert report.velocity_noise == pytest.approx(MACHINE.velocity_noise_rad_s, rel=0.15)
    assert np.all(report.effort_noise > 0.9 * MACHINE.effort_noise_nm)  # and that of the feedback
    assert 1e-4 < report.jitter_s < 4e-4
    assert report.longest_gap_s < 0.01
    held_s = 0.0015  # on average, half of the step for which a recorded effort stands, and half a tick
    assert report.delay_s == pytest.approx(MACHINE.delay_s + held_s, abs=0.0015)
    assert report.velocity_slope == pytest.approx(1.0, abs=0.01)


def test_the_motion_shows_a_payload_as_well_as_it_says(report: Report) -> None:
    std = dict(zip(report.parameters, report.parameter_std, strict=True))
    assert 1e-4 < std["payload_mass_kg"] < 0.02
    held = check(ROBOT, recording_of(replace(MACHINE, speed=0.02)))
    weaker = dict(zip(held.parameters, held.parameter_std, strict=True))
    assert weaker["payload_inertia_xx_kg_m2"] > 5.0 * std["payload_inertia_xx_kg_m2"]


def test_wrong_signs_and_gravity_are_named(recording: Recording) -> None:
    gravity = nominal_gravity(ROBOT, recording.q)
    one = np.array([1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0])
    wrong = {
        "efforts have the sign opposite": replace(recording, effort=-recording.effort),
        "efforts of panda_joint4 have the opposite sign": replace(recording, effort=one * recording.effort),
        "gravity_compensated": replace(recording, effort=recording.effort - gravity),
        "gravity acts upside down": replace(recording, effort=recording.effort - 2.0 * gravity),
        "another unit": replace(recording, effort=0.2 * recording.effort),
        "velocities have the sign opposite": replace(recording, v=-recording.v),
        "that of panda_joint2 follows the position of panda_joint4": replace(
            recording, v=recording.v[:, [0, 3, 2, 1, 4, 5, 6]]
        ),
    }
    for words, changed in wrong.items():
        found = check(ROBOT, changed)
        assert not found.usable and found.verdict == "not usable as it is"
        faults = [finding.text for finding in found.findings if finding.level == "fault"]
        assert any(words in text for text in faults), (words, faults)


@pytest.mark.parametrize(
    "machine", [MACHINE, Machine(hz=200.0, mass_kg=2.5), Machine(hz=200.0, speed=0.4, coulomb=0.05)]
)
def test_each_joint_with_the_other_sign_is_named_with_the_entry_that_mends_it(machine: Machine) -> None:
    """Also joints without gravity, the joint that carries most of it, and beside a payload or large friction."""
    right = recording_of(machine)
    for joints in ([0], [1], [2], [3], [4], [5], [6], [1, 3], [0, 4, 6]):
        sign = np.ones(7, dtype=int)
        sign[joints] = -1
        found = check(ROBOT, replace(right, effort=sign * right.effort))
        (fault,) = (finding.text for finding in found.findings if finding.level == "fault")
        names = ", ".join(ROBOT.channel_names[j] for j in joints)
        assert f"efforts of {names} have the opposite sign: set effort: sign to {sign.tolist()} in a map" in fault


GEAR = np.array([100.0, 120.0, 100.0, 80.0, 50.0, 50.0, 60.0])
SIGN = np.array([1, 1, -1, 1, 1, -1, 1])


def test_currents_of_the_motors_side_are_named_with_gears_and_signs_that_mend_them(
    tmp_path: Path, recording: Recording
) -> None:
    names = tuple(f"{signal}{i}" for signal in "qvi" for i in range(1, 8))
    current = SIGN * recording.effort / GEAR / 0.1
    made = Made(recording.time_s, recording.q, recording.v, recording.effort)
    path = write_csv(tmp_path / "log.csv", made, names, recording.q, recording.v, current)
    effort: dict[str, Any] = {"columns": "i{i}", "unit": "A", "gain": 0.1}
    keys = {"position": {"columns": "q{i}"}, "velocity": {"columns": "v{i}"}, "effort": effort}
    found = check(ROBOT, read_log(ROBOT, path, LogMap.model_validate(keys)))
    (fault,) = (finding.text for finding in found.findings if finding.level == "fault")
    gear = re.search(r"effort: gear .*about \[(.*?)\]", fault)
    assert gear is not None and "effort: sign of panda_joint3, panda_joint6 in a map" in fault, fault
    np.testing.assert_allclose(np.array(gear[1].split(", "), dtype=np.float64), GEAR, rtol=0.1)
    effort |= {"gear": GEAR.tolist(), "sign": SIGN.tolist()}
    mended = read_log(ROBOT, path, LogMap.model_validate(keys))
    np.testing.assert_allclose(mended.effort, recording.effort, atol=1e-9)
    assert check(ROBOT, mended).verdict == "usable"


def test_one_gear_of_all_joints_is_named(recording: Recording) -> None:
    found = check(ROBOT, replace(recording, effort=recording.effort / 100.0))
    (fault,) = (finding.text for finding in found.findings if finding.level == "fault")
    gear = re.search(r"effort: gear \(about ([0-9.]+)\)", fault)
    assert gear is not None and float(gear[1]) == pytest.approx(100.0, rel=0.1), fault


def test_a_payload_is_no_gear(recording: Recording) -> None:
    heavy = check(ROBOT, recording_of(replace(MACHINE, mass_kg=2.8)))
    assert heavy.usable and not any("gear" in finding.text for finding in heavy.findings), heavy.findings


def test_gaps_outliers_and_filtered_velocities_are_said(recording: Recording) -> None:
    kept = (recording.time_s < 3.0) | (recording.time_s > 3.4)
    q = recording.q[kept].copy()
    q[700, 2] += 0.05
    gappy = Recording("made", recording.time_s[kept], q, 0.93 * recording.v[kept], recording.effort[kept])
    found = check(ROBOT, gappy)
    assert found.gaps >= 1 and found.longest_gap_s == pytest.approx(0.4, abs=0.01)
    assert found.outliers >= 1
    assert any("0.93 times the change of positions" in finding.text for finding in found.findings)


@pytest.mark.parametrize(("late_s", "words"), [(0.05, "before their stamps"), (-0.04, "after their stamp")])
def test_efforts_of_another_time_are_said(recording: Recording, late_s: float, words: str) -> None:
    found = check(ROBOT, recording.acting(late_s))
    assert any(words in finding.text for finding in found.findings)


def test_a_row_that_is_left_out_counts_once(recording: Recording) -> None:
    lost = tuple(
        Repair(f"{what} that are not finite: left out", 900) for what in ("positions", "velocities", "efforts")
    )
    found = check(ROBOT, replace(recording, repairs=(*recording.repairs, *lost)))
    assert any(finding.text.startswith("900 rows were left out") for finding in found.findings)


def test_a_recording_of_nothing_but_gaps_is_refused(recording: Recording) -> None:
    kept = np.sort(np.random.default_rng(1000).choice(len(recording.q), 120, replace=False))
    part = [each[kept] for each in (recording.q, recording.v, recording.effort)]
    time_s = np.cumsum(np.where(np.arange(120) % 3 == 2, 0.3, 0.01))
    with pytest.raises(LogError, match="without a gap"):
        check(ROBOT, Recording("gaps", time_s, *part))


def test_a_recording_at_rest_says_that_it_shows_little(recording: Recording) -> None:
    still = replace(recording, q=np.tile(recording.q[0], (len(recording.q), 1)), v=0.0 * recording.v)
    found = check(ROBOT, replace(still, effort=nominal_gravity(ROBOT, still.q)))
    assert np.isnan(found.delay_s) and found.usable
    assert any("hardly moves" in finding.text for finding in found.findings)
