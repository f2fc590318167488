# SPDX-License-Identifier: Apache-2.0
"""Flights in bags and tables give the flight that was flown, in any axes, order and unit that a map names."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.core import rotation
from metarl_robot.logs.aerial_frames import enu, flu, flu_to_enu
from metarl_robot.logs.flight_check import check_flight
from metarl_robot.logs.flight_map import FlightMap
from metarl_robot.logs.log_map import read_map
from metarl_robot.logs.motor_thrusts import lagged
from metarl_robot.logs.reading import read_log
from metarl_robot.logs.recording import LogError, Recording
from metarl_robot.sim.quadrotor.wind import Wind
from tests.logs.flight_bags import EPOCH_NS, Style, write_flight_bag, write_flight_table
from tests.logs.made_flight import Flight, fly
from tests.logs.test_flight import ROBOT, TASK

ROTATED = ("rotor4", "rotor1", "rotor2", "rotor3")
COLUMNS = (*ROBOT.coordinates.q, *ROBOT.coordinates.v, *(f"specific_force_{axis}_m_s2" for axis in "xyz"))


@pytest.fixture(scope="module")
def flight() -> Flight:
    return fly(ROBOT, replace(TASK, wind=Wind(np.array([3.0, 1.0, 0.0]))), 1003, 5.0)


@pytest.fixture(scope="module")
def recording(flight: Flight, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return read_log(ROBOT, write_flight_bag(tmp_path_factory.mktemp("bag") / "flight", ROBOT, flight))


def mapped(**keys: Any) -> FlightMap:
    return FlightMap.model_validate(keys)


def assert_flown(found: Recording, flight: Flight, thrusts: float = 1e-6) -> None:
    """Poses, velocities, mean rates and acting thrusts are those of the flight. thrusts: tolerance [N]."""
    at = np.searchsorted(flight.time_s, found.time_s + flight.time_s[0] - 1e-4)[1:-1]
    np.testing.assert_allclose(found.q[1:-1, :3], flight.q[at, :3], atol=1e-6)
    turned = np.abs((found.q[1:-1, 3:] * flight.q[at, 3:]).sum(axis=1))
    np.testing.assert_allclose(turned, 1.0, atol=1e-9)
    np.testing.assert_allclose(found.v[1:-1, :3], flight.v[at, :3], atol=1e-6)
    acting = lagged(ROBOT, flight.time_s, flight.thrust)
    np.testing.assert_allclose(found.effort[1:-1], 0.5 * (acting[at - 1] + acting[at]), atol=thrusts)
    assert np.ptp(acting, axis=0).min() > 0.2, "rotors differ, so that a wrong order shows"


def test_a_bag_of_this_projects_topics_needs_no_map(recording: Recording, flight: Flight) -> None:
    assert_flown(recording, flight)
    assert recording.specific_force is not None and len(recording.time_s) == len(flight.time_s) // 2
    means = 0.5 * (flight.force[1:-1:2] + flight.force[2::2])[: len(recording.time_s) - 2]
    assert np.abs(recording.specific_force[1:-1] - means).max() < 1.0, "means since the last sample, noise included"
    report = check_flight(ROBOT, recording)
    assert report.usable and {each.level for each in report.findings} <= {"note"}, report.findings
    assert report.force_over_thrust == pytest.approx(ROBOT.mass_kg / (ROBOT.mass_kg + TASK.payload.mass_kg), rel=0.04)


@pytest.mark.parametrize(
    ("style", "keys"),
    [
        (Style(mcap=False, pose_every=2, odometry="/drone/odom"), {}),
        (Style(rotors="array"), {"rotors": {"rotors": ROTATED}}),
        (
            Style(rotors="array", quantity="speed", commands="/esc"),
            {"rotors": {"topic": "/esc", "quantity": "speed", "unit": "rpm", "rotors": ROTATED}},
        ),
    ],
    ids=["sqlite3", "array", "rpm"],
)
def test_bags_of_other_topics_and_rotors_need_a_map(
    tmp_path: Path, flight: Flight, style: Style, keys: dict[str, Any]
) -> None:
    place = {name: {"topic": style.odometry} for name in ("position", "attitude", "velocity")}
    assert_flown(
        read_log(ROBOT, write_flight_bag(tmp_path / "bag", ROBOT, flight, style), mapped(**place, **keys)), flight
    )


def test_a_collective_thrust_shows_forces_and_no_torques(tmp_path: Path, flight: Flight, recording: Recording) -> None:
    style = Style(rotors="array", quantity="collective", imu=False)
    path = write_flight_bag(tmp_path / "bag", ROBOT, flight, style)
    found = read_log(ROBOT, path, mapped(rotors={"quantity": "collective"}))
    np.testing.assert_allclose(found.effort.sum(axis=1)[2:-2], recording.effort.sum(axis=1)[2:-2], rtol=0.02)
    torque, known = (each.effort @ ROBOT.allocation[1:3].T for each in (found, recording))
    assert np.corrcoef(torque[5:-5, 0], known[5:-5, 0])[0, 1] > 0.5, "the torques that the motion needs"
    said = " ".join(each.what for each in found.repairs)
    assert "no accelerometer" in said and "errors of torque show none" in said


def test_a_table_with_our_names_needs_no_map(tmp_path: Path, flight: Flight) -> None:
    names = ("time_s", *COLUMNS, *ROBOT.coordinates.effort)
    columns = (flight.time_s, flight.q, flight.v, flight.force, flight.thrust)
    found = read_log(ROBOT, write_flight_table(tmp_path / "log.csv", names, *columns))
    at = slice(1, -1)
    np.testing.assert_allclose(found.q[at], rotation.continuous(flight.q)[at], atol=1e-9)
    np.testing.assert_allclose(found.v[at], flight.v[at], atol=1e-9)
    np.testing.assert_allclose(found.specific_force, flight.force, atol=1e-9)


def test_a_map_turns_axes_orders_and_units_of_a_table(tmp_path: Path, flight: Flight) -> None:
    attitude = flu_to_enu(flight.q[:, 3:])  # FRD to NED
    columns = (
        np.round(1e6 * flight.time_s),
        1e3 * enu(flight.q[:, :3]),
        rotation.inverse(attitude)[:, [1, 2, 3, 0]],
        1e3 * flu(rotation.rotate_back(flight.q[:, 3:], flight.v[:, :3])),
        np.rad2deg(flu(flight.v[:, 3:])),
        flu(flight.force) / 9.80665,
        1075.0 + 875.0 * (flight.thrust / ROBOT.effort_limit)[:, [3, 0, 1, 2]],
    )
    names = (
        "t",
        *(f"{each}{i}" for each, n in zip("pqvwfu", (3, 4, 3, 3, 3, 4), strict=True) for i in range(1, n + 1)),
    )
    text = f"""
time: {{column: t, unit: us}}
position: {{columns: [p1, p2, p3], unit: mm, axes: ned}}
attitude: {{columns: [q1, q2, q3, q4], order: xyzw, axes: ned_to_frd}}
velocity: {{columns: [v1, v2, v3], unit: mm/s, axes: frd}}
rates: {{columns: [w1, w2, w3], unit: deg/s, axes: frd}}
specific_force: {{columns: [f1, f2, f3], unit: g, axes: frd}}
rotors: {{columns: "u{{i}}", quantity: pulse, pulse_us: [1075, 1950], rotors: [{", ".join(ROTATED)}]}}
"""
    (tmp_path / "map.yaml").write_text(text)
    path = write_flight_table(tmp_path / "log.csv", names, *columns)
    found = read_log(ROBOT, path, read_map(tmp_path / "map.yaml", FlightMap))
    assert_flown(found, flight, 1e-3)
    np.testing.assert_allclose(found.v[1:-1, 3:], flight.v[1:-1, 3:], atol=1e-9)
    np.testing.assert_allclose(found.specific_force, flight.force, atol=1e-6)


def test_roll_pitch_yaw_and_positions_alone_are_enough(tmp_path: Path, flight: Flight) -> None:
    w, x, y, z = flight.q[:, 3:].T
    roll, yaw = np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)), rotation.yaw(flight.q[:, 3:])
    pitch = np.arcsin(2 * (w * y - x * z))
    names = ("time_s", *COLUMNS[:3], "roll", "pitch", "yaw", *COLUMNS[10:13], "thrust")
    acceleration = flight.thrust.sum(axis=1) / ROBOT.mass_kg
    columns = (flight.time_s, flight.q[:, :3], np.rad2deg(np.stack([roll, pitch, yaw], axis=1)), flight.v[:, 3:])
    path = write_flight_table(tmp_path / "log.csv", names, *columns, acceleration)
    keys = {
        "attitude": {"columns": ["roll", "pitch", "yaw"], "order": "rpy", "unit": "deg"},
        "rotors": {"columns": "thrust", "quantity": "collective", "unit": "m/s2"},
    }
    found = read_log(ROBOT, path, mapped(**keys))
    turned = np.abs((found.q[:, 3:] * flight.q[:, 3:]).sum(axis=1))
    np.testing.assert_allclose(turned, 1.0, atol=1e-9)
    assert np.abs(found.v[5:-5, :3] - flight.v[5:-5, :3]).mean() < 0.15, "differences of noisy positions"
    assert check_flight(ROBOT, found).usable


WRONG: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray | None]]] = {
    "order: xyzw": lambda q, v, f: (np.hstack([q[:, :3], q[:, [4, 5, 6, 3]]]), v, f),
    "rates: {axes: frd}": lambda q, v, f: (q, np.hstack([v[:, :3], flu(v[:, 3:])]), f),
    "attitude: {axes: frd_to_ned}": lambda q, v, f: (np.hstack([q[:, :3], flu_to_enu(q[:, 3:])]), v, f),
    "unit: deg/s": lambda q, v, f: (q, np.hstack([v[:, :3], np.rad2deg(v[:, 3:])]), f),
    "unit: mm/s": lambda q, v, f: (q, np.hstack([1e3 * v[:, :3], v[:, 3:]]), f),
    "unit: g": lambda q, v, f: (q, v, f / 9.81),
    "gravity acts upside down: positions, velocities, attitudes, body rates and specific forces": (
        lambda q, v, f: (*_aerospace(q, v), flu(f))
    ),
    "upside down: positions, velocities, attitudes and body rates": lambda q, v, f: (*_aerospace(q, v), None),
    "position: {axes: ned}, velocity: {axes: ned}'": (
        lambda q, v, f: (np.hstack([enu(q[:, :3]), q[:, 3:]]), np.hstack([enu(v[:, :3]), v[:, 3:]]), f)
    ),
    "'rates: {axes: frd}, specific_force: {axes: frd}'": (
        lambda q, v, f: (q, np.hstack([v[:, :3], flu(v[:, 3:])]), flu(f))
    ),
}


def _aerospace(q: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.hstack([enu(q[:, :3]), flu_to_enu(q[:, 3:])]), np.hstack([enu(v[:, :3]), flu(v[:, 3:])])


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_map_is_found_and_the_right_words_are_named(words: str, recording: Recording) -> None:
    assert recording.specific_force is not None
    q, v, force = WRONG[words](recording.q, recording.v, recording.specific_force)
    report = check_flight(ROBOT, replace(recording, q=q, v=v, specific_force=force))
    faults = [finding.text for finding in report.findings if finding.level == "fault"]
    assert len(faults) == 1 and words in faults[0] and "in a map" in faults[0], report.findings


def test_what_cannot_be_read_names_the_remedy(tmp_path: Path, flight: Flight) -> None:
    bag = write_flight_bag(tmp_path / "bag", ROBOT, flight, Style(rotors="array", quantity="speed", commands="/esc"))
    with pytest.raises(LogError, match=r"no rotors: .*/thrust_controller/commands.*/esc.*Name topics in a map"):
        read_log(ROBOT, bag)
    with pytest.raises(LogError, match="thrusts reach .* as of rotor speeds in rpm"):
        read_log(ROBOT, bag, mapped(rotors={"topic": "/esc"}))
    with pytest.raises(LogError, match="'actual'.*layout, data|'actual'.*data, layout"):
        read_log(ROBOT, bag, mapped(rotors={"topic": "/esc", "field": "actual"}))
    with pytest.raises(LogError, match=r"field 'pose.pose' holds no numbers.*orientation, position"):
        read_log(ROBOT, bag, mapped(rotors={"topic": "/esc"}, position={"field": "pose.pose"}))
    with pytest.raises(LogError, match="must name each of rotor1, rotor2, rotor3, rotor4 once"):
        read_log(ROBOT, bag, mapped(rotors={"topic": "/esc", "rotors": ["rotor1", "rotor1", "rotor2", "rotor3"]}))
    (tmp_path / "map.yaml").write_text("rotors: {quantity: speed, unit: N}\n")
    with pytest.raises(LogError, match=r"unit 'N' is none of a speed; allowed: rad/s, rpm"):
        read_map(tmp_path / "map.yaml", FlightMap)
    (tmp_path / "map.yaml").write_text("joints: {a: b}\n")
    with pytest.raises(
        LogError, match="allowed keys: time, position, attitude, velocity, rates, specific_force, rotors, ulog"
    ):
        read_map(tmp_path / "map.yaml", FlightMap)


def test_two_clocks_are_named(tmp_path: Path, flight: Flight) -> None:
    early = replace(flight, time_s=flight.time_s - 1e-9 * EPOCH_NS)  # stamps of simulated time
    names = ("time_s", *COLUMNS, *ROBOT.coordinates.effort)
    rows = np.column_stack([early.q, early.v, early.force, early.thrust])
    half, empty = len(rows) // 2, np.full((len(rows), len(names) - 1), np.nan)
    empty[:half, :13], empty[half:, 13:] = rows[:half, :13], rows[half:, 13:]
    with pytest.raises(LogError, match=r"do not overlap in time: position 0\.000.*clock: received"):
        read_log(ROBOT, write_flight_table(tmp_path / "log.csv", names, flight.time_s, empty))


def test_the_commands_serve_bags(tmp_path: Path, flight: Flight) -> None:
    style = Style(rotors="array", quantity="speed", commands="/esc", lost=0.03, late_s=0.001)
    bag, drawn = str(write_flight_bag(tmp_path / "bag", ROBOT, flight, style)), tmp_path / "drawn.svg"
    place = {"topic": "/esc", "quantity": "speed", "unit": "rpm", "rotors": list(ROTATED)}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump({"rotors": place}))
    arguments = ["x500", bag, "--map", str(tmp_path / "map.yaml")]
    done = CliRunner().invoke(app, ["log", "check", *arguments, "--json", "-", "--out", str(drawn)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["verdict"].startswith("usable") and drawn.stat().st_size > 10_000
    done = CliRunner().invoke(
        app, ["log", "eval", *arguments, "--adapters", "last_layer", "--jobs", "1", "--json", "-"]
    )
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    errors = {name: row["after"][1]["error_percent_of_limit"] for name, row in rows.items()}
    assert errors["last_layer"] < 0.6 * errors["nominal"], errors
    done = CliRunner().invoke(app, ["plot", bag, "--robot", "x500", *arguments[2:], "--out", str(drawn)])
    assert done.exit_code == 0 and "thrusts from rotor speeds" in done.output, done.output
