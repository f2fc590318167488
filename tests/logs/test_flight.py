# SPDX-License-Identifier: Apache-2.0
"""ULogs of flights, as PX4 writes them, are read into our frames; wrong frames, orders and units are named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from metarl_robot.adaptation.feature_spec import feature_map, regressed_groups
from metarl_robot.adaptation.force_scale import force_scale
from metarl_robot.adaptation.stream_cells import StreamCells
from metarl_robot.cli.app import app
from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.logs.aerial_frames import enu, flu, flu_to_enu
from metarl_robot.logs.flight_cells import measure_flight
from metarl_robot.logs.flight_check import check_flight
from metarl_robot.logs.flight_map import FlightMap
from metarl_robot.logs.log_map import read_map
from metarl_robot.logs.motor_thrusts import lagged
from metarl_robot.logs.reading import read_log
from metarl_robot.logs.recording import LogError, Recording
from metarl_robot.logs.replay import RIVALS, evaluate
from metarl_robot.logs.scores import summary
from metarl_robot.robots.quadrotor.description import MotorModel
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from metarl_robot.sim.quadrotor.wind import Wind
from tests.logs.made_flight import Flight, UlogWriter, fly, write_ulog

ROBOT = load_robot("x500")
TASK = QuadrotorTask(
    payload=Payload(0.2, np.array([0.0, 0.0, -0.02]), np.array([1e-4, 1e-4, 1e-4, 0.0, 0.0, 0.0])),
    command_delay_s=0.004,
    position_noise_m=2e-3,
    attitude_noise_rad=1e-3,
    velocity_noise_m_s=0.01,
    gyro_noise_rad_s=0.01,
    accelerometer_noise_m_s2=0.3,
    ground_effect=False,
)


@pytest.fixture(scope="module")
def flight() -> Flight:
    return fly(ROBOT, TASK, 1000, 8.0)


@pytest.fixture(scope="module")
def recording(flight: Flight, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return read_log(ROBOT, write_ulog(tmp_path_factory.mktemp("log") / "flight.ulg", ROBOT, flight))


def test_frames_of_an_autopilot_are_half_turns() -> None:
    rng = np.random.default_rng(1000)
    q, body = rotation.normalise(rng.normal(size=(20, 4))), rng.normal(size=(20, 3))
    world = rotation.rotate(q, body)
    np.testing.assert_allclose(rotation.rotate(flu_to_enu(q), flu(body)), enu(world), atol=1e-12)
    back = flu_to_enu(flu_to_enu(q))
    np.testing.assert_allclose(np.abs((back * q).sum(axis=1)), 1.0, atol=1e-12)
    level = flu_to_enu(np.array([[1.0, 0.0, 0.0, 0.0]]))  # heading north
    np.testing.assert_allclose(rotation.rotate(level[0], np.array([1.0, 0.0, 0.0])), [0.0, 1.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("pose", ["odometry", "body", "local"])
def test_a_ulog_gives_the_flight_that_was_written(tmp_path: Path, flight: Flight, pose: str) -> None:
    found = read_log(ROBOT, write_ulog(tmp_path / "log.ulg", ROBOT, flight, pose))
    at = np.searchsorted(flight.time_s, found.time_s + flight.time_s[0] - 1e-4)
    count = len(at) - 4  # the last positions of a slower topic are missing
    assert 0.9 * len(flight.time_s) / 2 < count and found.period_s == pytest.approx(0.01)
    atol = 0.03 if pose == "local" else 2e-5
    np.testing.assert_allclose(found.q[:count, :3], flight.q[at[:count], :3], atol=atol)
    turned = np.abs((found.q[:count, 3:] * flight.q[at[:count], 3:]).sum(axis=1))
    np.testing.assert_allclose(turned, 1.0, atol=1e-6)
    if pose != "local":
        np.testing.assert_allclose(found.v[:count, :3], flight.v[at[:count], :3], atol=1e-4)
    means = 0.25 * (flight.v[at[:count] - 1, 3:] + 2.0 * flight.v[at[:count], 3:] + flight.v[at[:count] + 1, 3:])
    np.testing.assert_allclose(found.v[4:count, 3:], means[4:], atol=1e-3)


@pytest.mark.parametrize("motors", ["share", "pulse"])
def test_thrusts_are_those_of_the_robots_rotors_after_their_lag(tmp_path: Path, flight: Flight, motors: str) -> None:
    found = read_log(ROBOT, write_ulog(tmp_path / "log.ulg", ROBOT, flight, motors=motors))
    at = np.searchsorted(flight.time_s, found.time_s + flight.time_s[0] - 1e-4)
    acting = lagged(ROBOT, flight.time_s, flight.thrust)
    expected = 0.5 * (acting[at[1:-1] - 1] + acting[at[1:-1]])  # commands at twice the rate of the poses
    np.testing.assert_allclose(found.effort[1:-1], expected, atol=2e-3)
    assert np.ptp(expected, axis=0).min() > 0.2, "rotors differ, so that a wrong order shows"
    assert any(("pulses" if motors == "pulse" else "normalised") in each.what for each in found.repairs)


def test_the_lag_is_that_of_the_motor_model(flight: Flight) -> None:
    motors = MotorModel(ROBOT, flight.thrust[0])
    expected = [motors.advance(command, 0.005) for command in flight.thrust[:300]]
    np.testing.assert_allclose(lagged(ROBOT, 0.005 * np.arange(300), flight.thrust[:300]), expected, rtol=1e-9)


def test_a_good_flight_is_usable(recording: Recording) -> None:
    report = check_flight(ROBOT, recording)
    assert report.usable, report.findings
    expected = (ROBOT.mass_kg) / (ROBOT.mass_kg + TASK.payload.mass_kg)
    assert report.force_over_thrust == pytest.approx(expected, rel=0.03)
    assert report.position_noise == pytest.approx(TASK.position_noise_m, rel=0.3)
    assert report.airborne_s > 7.0 and report.rate_hz == pytest.approx(100.0)
    assert report.delay_s == pytest.approx(TASK.command_delay_s, abs=0.012)


def test_wrong_frames_orders_and_units_are_named(recording: Recording) -> None:
    q, v, force = recording.q, recording.v, recording.specific_force
    assert force is not None

    def posed(attitude: np.ndarray) -> Recording:
        return replace(recording, q=np.hstack([q[:, :3], attitude]))

    body = np.hstack([rotation.rotate_back(q[:, 3:], v[:, :3]), v[:, 3:]])
    wrong = {
        "order xyzw": posed(q[:, [4, 5, 6, 3]]),
        "from world to body": posed(rotation.inverse(q[:, 3:])),
        "ulog: {attitude: flu_to_enu}": posed(flu_to_enu(q[:, 3:])),
        "velocities are in body axes": replace(recording, v=body),
        "ulog: {velocity: enu}": replace(recording, v=np.hstack([enu(v[:, :3]), v[:, 3:]])),
        "never recorded": replace(recording, specific_force=0.0 * force),
        "are in g": replace(recording, specific_force=force / 9.81),
        "the wrong sign": replace(recording, specific_force=-force),
        "another largest thrust": replace(recording, effort=2.5 * recording.effort),
    }
    for words, changed in wrong.items():
        report = check_flight(ROBOT, changed)
        faults = [finding.text for finding in report.findings if finding.level == "fault"]
        assert any(words in text for text in faults), (words, report.findings)


_POSE = ("position", "velocity", "attitude")
_IMU = ("rates", "specific_force")
OURS = {
    _POSE: "'ulog: {position: enu, velocity: enu, attitude: flu_to_enu}'",
    (*_POSE, *_IMU): "upside down: .*'ulog: {position: enu, .*attitude: flu_to_enu, rates: flu, specific_force: flu}'",
    _IMU: "'ulog: {rates: flu, specific_force: flu}'",
    ("attitude",): "'ulog: {attitude: flu_to_enu}'",
    ("velocity",): "'ulog: {velocity: enu}'",
    ("position",): "'ulog: {position: enu}'",
    ("position", "velocity"): "'ulog: {position: enu, velocity: enu}'",
    ("attitude", "rates"): "'ulog: {attitude: flu_to_enu, rates: flu}'",
}


@pytest.mark.parametrize("ours", OURS, ids="-".join)
def test_axes_of_a_ulog_that_are_not_px4s_are_named_with_a_map_that_mends_them(
    tmp_path: Path, flight: Flight, recording: Recording, ours: tuple[str, ...]
) -> None:
    path = write_ulog(tmp_path / "log.ulg", ROBOT, flight, ours=ours)
    found = check_flight(ROBOT, read_log(ROBOT, path))
    faults = [finding.text for finding in found.findings if finding.level == "fault"]
    assert len(faults) == 1 and re.search(OURS[ours], faults[0]), found.findings
    (tmp_path / "map.yaml").write_text(faults[0].split("'")[-2] + "\n")
    mended = read_log(ROBOT, path, read_map(tmp_path / "map.yaml", FlightMap))
    assert check_flight(ROBOT, mended).usable
    np.testing.assert_allclose(mended.v, recording.v, atol=1e-3)
    np.testing.assert_allclose(mended.q, recording.q, atol=1e-3)


@pytest.mark.parametrize(("pose", "declared", "axes"), [("odometry", 3, "ned"), ("body", 1, "frd")])
def test_velocities_in_another_frame_than_the_log_declares_are_named(
    tmp_path: Path, flight: Flight, recording: Recording, pose: str, declared: int, axes: str
) -> None:
    path = write_ulog(tmp_path / "log.ulg", ROBOT, flight, pose, declared=declared)
    found = check_flight(ROBOT, read_log(ROBOT, path))
    faults = [finding.text for finding in found.findings if finding.level == "fault"]
    assert len(faults) == 1 and f"'ulog: {{velocity: {axes}}}'" in faults[0], found.findings
    mended = read_log(ROBOT, path, FlightMap.model_validate({"ulog": {"velocity": axes}}))
    np.testing.assert_allclose(mended.v, recording.v, atol=1e-3)


def test_axes_fixed_in_the_world_of_any_heading_are_no_body_axes(tmp_path: Path, flight: Flight) -> None:
    heading_free = 2  # PX4's VELOCITY_FRAME_FRD
    found = read_log(ROBOT, write_ulog(tmp_path / "log.ulg", ROBOT, flight, declared=heading_free))
    assert check_flight(ROBOT, found).usable


def test_without_an_accelerometer_thrust_shows_which_way_is_up(recording: Recording) -> None:
    q = np.hstack([enu(recording.q[:, :3]), flu_to_enu(recording.q[:, 3:])])
    v = np.hstack([enu(recording.v[:, :3]), recording.v[:, 3:]])
    report = check_flight(ROBOT, replace(recording, q=q, v=v, specific_force=None, source="flight.csv"))
    faults = [finding.text for finding in report.findings if finding.level == "fault"]
    words = "'position: {axes: ned}, velocity: {axes: ned}, attitude: {axes: frd_to_ned}' in a map"
    assert len(faults) == 1 and words in faults[0], report.findings


def test_what_is_no_flight_is_refused_with_what_there_is(tmp_path: Path, flight: Flight) -> None:
    empty = tmp_path / "empty.ulg"
    empty.write_bytes(b"")
    with pytest.raises(LogError, match="cannot be read as a ULog"):
        read_log(ROBOT, empty)
    log = UlogWriter(tmp_path / "sensors.ulg")
    log.topic("sensor_combined", flight.time_s, [("float", "gyro_rad", flight.v[:, 3:])])
    with pytest.raises(LogError, match="vehicle_attitude.*there are: sensor_combined"):
        read_log(ROBOT, log.write())
    with pytest.raises(LogError, match=r"\.ulg"):
        read_log(load_robot("planar2"), write_ulog(tmp_path / "arm.ulg", ROBOT, flight))
    cut = write_ulog(tmp_path / "cut.ulg", ROBOT, flight)
    cut.write_bytes(cut.read_bytes()[:100_000])
    with pytest.raises(LogError, match="no motor commands"):  # the topics follow each other in this file
        read_log(ROBOT, cut)


def test_the_command_prints_a_verdict_and_draws(tmp_path: Path, flight: Flight) -> None:
    path, drawn = write_ulog(tmp_path / "flight.ulg", ROBOT, flight), tmp_path / "check.svg"
    done = CliRunner().invoke(app, ["log", "check", "x500", str(path), "--json", "-", "--out", str(drawn)])
    assert done.exit_code == 0, done.output
    (report,) = json.loads(done.stdout)
    assert report["verdict"].startswith("usable") and report["force_over_thrust"] == pytest.approx(0.9, abs=0.1)
    assert drawn.stat().st_size > 10_000
    table = CliRunner().invoke(app, ["log", "check", "x500", str(path)])
    assert table.exit_code == 0 and "usable" in table.output and "normalised commands" in table.output
    image = tmp_path / "plot.svg"
    done = CliRunner().invoke(app, ["plot", str(path), "--robot", "x500", "--out", str(image)])
    assert done.exit_code == 0 and image.stat().st_size > 10_000, done.output


def test_adapters_predict_a_flight_in_wind_with_a_payload(tmp_path: Path) -> None:
    windy = replace(TASK, wind=Wind(np.array([4.0, -2.0, 0.0])))
    path = write_ulog(tmp_path / "wind.ulg", ROBOT, fly(ROBOT, windy, 1001, 6.5))
    found = evaluate(ROBOT, read_log(ROBOT, path), ("disturbance_observer", "last_layer"))
    rows = summary(ROBOT, [found])["rows"]
    errors = {name: [entry["error_percent_of_limit"] for entry in row["after"][:3]] for name, row in rows.items()}
    assert list(errors) == [*RIVALS, "disturbance_observer", "last_layer"]
    rivals = np.min([errors[name] for name in errors if name != "last_layer"], axis=0)
    assert np.all(np.array(errors["last_layer"]) < rivals), errors
    assert np.all(np.array(errors["last_layer"]) < 0.6 * np.array(errors["nominal"])), errors
    mass, std = (each[-1, 0] for each in vars(found.rows["last_layer"].estimates["payload"]).values())
    assert abs(mass - TASK.payload.mass_kg) < 3.0 * std


def test_cells_of_a_stream_are_those_of_the_recorded_flight(recording: Recording) -> None:
    dynamics = QuadrotorDynamics(ROBOT)
    groups = regressed_groups(ROBOT, dynamics)
    assert groups == ("payload", "push", "drag"), "not the rotors' strength, which scales efforts"
    features = feature_map(ROBOT, dynamics, groups)
    flips = np.where(np.arange(len(recording.q)) % 3 == 0, -1.0, 1.0)  # q and -q are the same attitude
    q = np.hstack([recording.q[:, :3], flips[:, None] * recording.q[:, 3:]])
    held = np.vstack([recording.effort[:1], 0.5 * (recording.effort[1:] + recording.effort[:-1])])
    stream = StreamCells(dynamics, features, recording.period_s, ROBOT.attitude)
    steps = np.diff(recording.time_s, prepend=0.0)
    taken = [stream.take(State(q[k], recording.v[k]), held[k], float(steps[k])) for k in range(200)]
    cells, whole = [cell for cell in taken if cell is not None], measure_flight(dynamics, recording)
    assert len(cells) > 30
    regressors = whole.part(len(cells)).regressors(features)
    for cell, force, regressor in zip(cells, whole.residual, regressors, strict=False):
        np.testing.assert_allclose(cell.force / force_scale(ROBOT), force / force_scale(ROBOT), atol=3e-3)
        np.testing.assert_allclose(cell.regressor, regressor, atol=0.02 * np.abs(regressors).max())
        assert cell.moving.all()


def test_nothing_is_missed_where_the_description_is_exact() -> None:
    exact = QuadrotorTask(ground_effect=False, drag_scale=np.zeros(2))
    flight = fly(ROBOT, exact, 1002, 4.0)
    acting = lagged(ROBOT, flight.time_s, flight.thrust)
    cells = measure_flight(QuadrotorDynamics(ROBOT), Recording("exact", flight.time_s, flight.q, flight.v, acting))
    assert np.abs(cells.residual / force_scale(ROBOT)).max() < 0.01
    heavier = replace(exact, payload=TASK.payload)
    flight = fly(ROBOT, heavier, 1002, 4.0)
    acting = lagged(ROBOT, flight.time_s, flight.thrust)
    cells = measure_flight(QuadrotorDynamics(ROBOT), Recording("heavy", flight.time_s, flight.q, flight.v, acting))
    assert cells.residual[:, 2].mean() == pytest.approx(-TASK.payload.mass_kg * 9.81, rel=0.1)
