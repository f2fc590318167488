# SPDX-License-Identifier: Apache-2.0
"""Hidden parameters of simulated quadrotors are found within their standard errors, and what cannot be is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.core.robot import load_robot
from metarl_robot.logs.flight_model import NAMES, FlightModel
from metarl_robot.logs.identified_flight_document import RATIOS, flight_document
from metarl_robot.logs.identify_flight import Given, identify_flight, without_lag
from metarl_robot.logs.reading import read_log
from metarl_robot.logs.recording import COLLECTIVE, COMMANDED, MEASURED, LogError, Recording
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wind
from tests.logs.flight_bags import Style, write_flight_bag, write_flight_table
from tests.logs.identified_flights import CONDITIONS, ROBOT, hidden, in_standard_errors, recordings_of
from tests.logs.made_flight import Flight, fly
from tests.multirotors import multirotor

RUNNER = CliRunner()
SEED, DURATION_S = 1002, 12.0


@pytest.fixture(scope="module")
def made() -> tuple[Quadrotor, NDArray[np.float64], Recording]:
    robot, task, truth = hidden(np.random.default_rng(SEED))
    return robot, truth, recordings_of(robot, task, SEED, 1, DURATION_S)[0]


def test_hidden_parameters_are_found_within_two_standard_errors(
    made: tuple[Quadrotor, NDArray[np.float64], Recording],
) -> None:
    robot, truth, recording = made
    found = identify_flight(ROBOT, [recording], Given(robot.mass_kg, robot.torque_ratio))
    off = in_standard_errors(found, truth)
    assert np.abs(off).max() < 2.0, dict(zip(NAMES, off, strict=True))
    shares = dict(zip(NAMES, np.sqrt(np.diagonal(found.covariance)) / found.std, strict=False))
    assert max(shares[name] for name in ("thrust", "inertia_x", "inertia_y", "inertia_z", "rotor_drag_across")) < 0.2
    assert found.over_nominal < 0.4 and len(found.folds) == 5
    content = flight_document(found)
    assert not any("--" in said for said in content["not_shown"])
    assert [each["name"] for each in content["parameters"] if each["given"]] == ["mass", "torque_ratio"]


def test_hidden_parameters_of_a_hexarotor_are_found_in_its_recording(tmp_path: Path) -> None:
    """With noise, a delay and a weak battery, through a bag of odometry, IMU and six thrusts."""
    described = multirotor("hexa", tmp_path)
    robot, task, truth = hidden(np.random.default_rng(SEED), described)
    flight = fly(robot, task, SEED, DURATION_S, by_truth=True)
    bag = write_flight_bag(tmp_path / "bag", described, flight, Style(pose_every=1, order=(4, 0, 2, 5, 1, 3)))
    recording = read_log(without_lag(described), bag)
    found = identify_flight(described, [recording], Given(robot.mass_kg, robot.torque_ratio))
    off = in_standard_errors(found, truth)
    assert np.abs(off).max() < 2.0, dict(zip(NAMES, off, strict=True))
    shares = dict(zip(NAMES, np.sqrt(np.diagonal(found.covariance)) / found.std, strict=False))
    assert max(shares[name] for name in ("thrust", "inertia_x", "inertia_y", "inertia_z")) < 0.2


def test_without_a_mass_only_ratios_are_shown_and_the_remedy_is_said(
    made: tuple[Quadrotor, NDArray[np.float64], Recording],
) -> None:
    _, truth, recording = made
    found = identify_flight(ROBOT, [replace(recording, rotors=MEASURED)])
    content = flight_document(found)
    shown = {each["name"]: each["shown"] for each in content["parameters"]}
    assert not any(shown[name] for name in ("mass", "motor_time_up", "motor_time_down"))
    said = {each.partition(":")[0]: each for each in content["not_shown"]}
    assert {"mass", "motor lag"} <= set(said) and "--mass KG" in said["mass"]
    of, nominal = (dict(zip(NAMES, values, strict=True)) for values in (truth, FlightModel(ROBOT, recording).nominal))
    ratio = content["ratios"][list(RATIOS).index("thrust over mass")]
    expected = of["thrust"] / of["mass"] * nominal["mass"]
    assert ratio["standard_error"] < 0.01
    assert abs(ratio["over_nominal"] - expected) < max(2.0 * ratio["standard_error"], 0.005)


def test_a_constant_wind_explains_forces_and_torques_of_a_flight_in_it() -> None:
    windy = QuadrotorTask(ground_effect=False, wind=Wind(np.array([4.0, 2.0, 0.0])))
    flight = fly(ROBOT, windy, SEED, 4.0)
    about = 0.5 * (flight.thrust + np.concatenate([flight.thrust[:1], flight.thrust[:-1]]))
    model = FlightModel(ROBOT, Recording("windy", flight.time_s, flight.q, flight.v, about, rotors=COMMANDED))
    z = np.where([name.partition("_")[0] in ("rotor", "parasitic") for name in NAMES], model.nominal, 0.0)

    def missed(wind: tuple[float, float]) -> NDArray[np.float64]:
        found = model.errors(z, np.array(wind))
        return np.array(
            [np.sqrt(np.mean(each[used] ** 2)) for each, used in zip(found.value, found.usable, strict=True)]
        )

    assert np.all(missed((4.0, 2.0)) < [0.1, 0.2] * missed((0.0, 0.0))), (missed((4.0, 2.0)), missed((0.0, 0.0)))
    assert np.all(missed((4.0, 2.0)) < 0.2 * missed((-4.0, -2.0)))


def test_gusts_that_control_rejects_widen_the_standard_errors_of_inertia() -> None:
    robot, task, truth = hidden(np.random.default_rng(SEED))
    gusty = recordings_of(robot, task, SEED, 1, 6.0, CONDITIONS["wind"])
    found = identify_flight(ROBOT, gusty, Given(robot.mass_kg, robot.torque_ratio))
    across = [NAMES.index(name) for name in ("inertia_x", "inertia_y")]
    assert np.all(np.abs(in_standard_errors(found, truth)[across]) < 2.0)
    shares = np.sqrt(np.diagonal(found.covariance)) / found.std
    assert np.all((shares[across] > 0.2) & (shares[across] <= 1.0)), "in still air below 0.2"


def test_a_collective_thrust_and_a_robot_that_does_not_fly_are_refused(
    made: tuple[Quadrotor, NDArray[np.float64], Recording],
) -> None:
    _, _, recording = made
    with pytest.raises(LogError, match="command or the speed of each rotor"):
        identify_flight(ROBOT, [replace(recording, rotors=COLLECTIVE)])
    with pytest.raises(LogError, match="at least 3 s are needed"):
        identify_flight(ROBOT, [replace(recording, effort=0.1 * recording.effort)])


def test_the_command_writes_a_robot_that_loads_with_the_parameters_found(tmp_path: Path) -> None:
    robot, task, _ = hidden(np.random.default_rng(SEED))
    flight = fly(robot, task, SEED, 5.0, by_truth=True)
    log, folder = write_csv(tmp_path / "log.csv", flight), tmp_path / "new"
    arguments = ["log", "identify", "x500", str(log), "--mass", f"{robot.mass_kg:.4f}", "-o", str(folder)]
    done = RUNNER.invoke(app, [*arguments, "--json", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.output
    assert "cross-validation" in done.output and "--mass" not in done.output
    content = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert json.loads((folder / "identification.json").read_text(encoding="utf-8")) == content
    new, after = load_robot(folder), {each["name"]: each["after"] for each in content["parameters"]}
    assert isinstance(new, Quadrotor)
    assert new.mass_kg == pytest.approx(robot.mass_kg, rel=5e-3)
    assert new.thrust_coefficient == pytest.approx(ROBOT.thrust_coefficient * after["thrust"], rel=1e-5)
    assert new.motor_time_s == pytest.approx((after["motor_time_up"], after["motor_time_down"]), rel=1e-5)
    found = [after[f"inertia_{axis}"] for axis in "xyz"]
    assert np.diag(new.inertia) == pytest.approx([*found[:2], min(found[2], 0.999 * sum(found[:2]))], rel=1e-5)
    again = RUNNER.invoke(app, arguments)
    assert again.exit_code == 2 and "--force" in again.output


def test_what_is_measured_on_the_ground_is_of_quadrotors(tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["log", "identify", "planar2", str(tmp_path / "none.csv"), "--mass", "2.0"])
    assert done.exit_code == 2 and "are of quadrotors" in done.output


def write_csv(path: Path, flight: Flight) -> Path:
    coordinates = ROBOT.coordinates
    force = (f"specific_force_{axis}_m_s2" for axis in "xyz")
    names = ("time_s", *coordinates.q, *coordinates.v, *force, *coordinates.effort)
    return write_flight_table(path, names, flight.time_s, flight.q, flight.v, flight.force, flight.thrust)
