# SPDX-License-Identifier: Apache-2.0
"""`metarl robot new` from PX4 parameters, and `metarl robot check` of a multirotor."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.description import Quadrotor

HEXA = ((0.0, 0.275, -0.05), (0.0, -0.275, 0.05), (0.238, -0.1375, -0.05), (-0.238, 0.1375, 0.05),
        (0.238, 0.1375, 0.05), (-0.238, -0.1375, -0.05))  # fmt: skip
"""PX, PY, KM of PX4's hexarotor x, scaled to 550 mm."""


def parameters() -> dict[str, float]:
    made: dict[str, float] = {"CA_AIRFRAME": 0, "CA_ROTOR_COUNT": 6, "MPC_THR_HOVER": 0.45, "MC_YAWRATE_MAX": 180}
    for i, values in enumerate(HEXA):
        made |= {f"CA_ROTOR{i}_{name}": value for name, value in zip(("PX", "PY", "KM"), values, strict=True)}
    return made


def qgc(path: Path, values: dict[str, float]) -> Path:
    """QGroundControl's format."""
    lines = [
        "# Vehicle-Id Component-Id Name Value Type",
        *(f"1\t1\t{name}\t{value:.18f}\t9" for name, value in values.items()),
    ]
    path.write_text("\n".join(lines))
    return path


def script(path: Path, values: dict[str, float]) -> Path:
    """An airframe's init script."""
    lines = ["#!/bin/sh", "# @name hexa", ". ${R}etc/init.d/rc.mc_defaults"]
    path.write_text(
        "\n".join([*lines, *(f"param set-default {name} {value}  # said" for name, value in values.items())])
    )
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output if result.exception is None else f"{result.output}{result.exception}"


def made(folder: Path) -> Quadrotor:
    robot = load_robot(folder)
    assert isinstance(robot, Quadrotor)
    return robot


def test_both_formats_give_the_same_hexarotor_with_the_origin_of_every_value(tmp_path: Path) -> None:
    files = qgc(tmp_path / "hexa.params", parameters()), script(tmp_path / "6001_hexa", parameters())
    robots = []
    for i, file in enumerate(files):
        code, said = run(
            "robot", "new", tmp_path / str(i), "--from", file, "--mass", 2.4, "--propeller", 0.24, "--json"
        )
        assert code == 0, said
        robots.append(made(tmp_path / str(i)))
        origins = {value["of"]: value["origin"] for value in json.loads(said)["values"]}
        assert origins["rotor1"] == origins["torque_ratio_m"] == "file" and origins["mass_kg"] == "option"
        assert (
            origins["inertia_kg_m2"] == origins["motor_time_s"] == "guess" and origins["speed_limit_m_s"] == "default"
        )
    one, other = robots
    np.testing.assert_array_equal(one.wrench_map, other.wrench_map)
    np.testing.assert_allclose(one.rotor_positions[:, :2], [(x, -y) for x, y, _ in HEXA])
    assert one.spin.tolist() == [1.0 if moment > 0.0 else -1.0 for *_, moment in HEXA]
    share = one.hover_thrust / one.effort_limit
    np.testing.assert_allclose(share, 0.45, rtol=1e-3)
    assert one.velocity_limit[5] == pytest.approx(np.pi, rel=1e-3) and one.rotor_radius_m == 0.12


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_the_hover_thrust_is_a_share_of_thrust_whatever_the_curve_of_the_motors(tmp_path: Path, factor: float) -> None:
    """PX4 applies THR_MDL_FAC after its thrust setpoints, to make signals of them (FunctionMotors)."""
    file = qgc(tmp_path / "a.params", parameters() | {"THR_MDL_FAC": factor})
    code, said = run("robot", "new", tmp_path / "new", "--from", file, "--mass", 2.4, "--json")
    assert code == 0, said
    robot = made(tmp_path / "new")
    np.testing.assert_allclose(robot.hover_thrust / robot.effort_limit, 0.45, rtol=1e-3)
    assert ("proportional to the signal" if factor == 0.0 else f"THR_MDL_FAC {factor:g}") in said


def test_tilted_axes_are_turned_from_frd_to_flu(tmp_path: Path) -> None:
    values = parameters()
    for i, (x, y, moment) in enumerate(HEXA):
        lean = 0.3 * np.sign(moment) / np.hypot(x, y)
        values |= {f"CA_ROTOR{i}_AX": -lean * y, f"CA_ROTOR{i}_AY": lean * x, f"CA_ROTOR{i}_AZ": -1.0}
    code, said = run("robot", "new", tmp_path / "tilted", "--from", qgc(tmp_path / "a.params", values), "--mass", 2.4)
    assert code == 0, said
    robot = made(tmp_path / "tilted")
    first = np.array([-values["CA_ROTOR0_AX"] * -1.0, -values["CA_ROTOR0_AY"], 1.0])
    np.testing.assert_allclose(robot.rotor_axes[0], first / np.linalg.norm(first), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"CA_ROTOR_COUNT": 3}, (), "4 to 16 fixed rotors can be read"),
        ({"CA_AIRFRAME": 3}, (), "a tiltrotor VTOL"),
        ({"CA_ROTOR2_KM": 0.0}, (), "its sign is the direction of rotation"),
        ({"CA_ROTOR2_CT": 9.0}, (), "rotors of several sizes are not supported"),
        ({"CA_ROTOR_COUNT": 8}, (), "CA_ROTOR6_PX and CA_ROTOR6_PY are missing"),
        ({"CA_ROTOR_COUNT": None}, (), "PX4 before 1.13 had mixer files"),
        ({f"CA_ROTOR{i}_KM": 0.05 for i in range(6)}, (), "let half of the rotors turn the other way"),
        ({}, ("--joints", "a,b"), "--joints: no option for a multirotor"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_remedy(
    tmp_path: Path, changes: dict[str, float | None], options: tuple[str, ...], said: str
) -> None:
    values = {name: value for name, value in (parameters() | changes).items() if value is not None}
    code, output = run("robot", "new", tmp_path / "hexa", "--from", qgc(tmp_path / "a.params", values), *options)
    assert code != 0 and said in " ".join(output.split()), output
    assert not (tmp_path / "hexa").exists()


def test_a_number_that_is_none_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.params"
    file.write_text("1\t1\tCA_ROTOR_COUNT\t6\t6\n1\t1\tCA_ROTOR0_PX\tnan\t9\n")
    code, output = run("robot", "new", tmp_path / "hexa", "--from", file)
    assert code != 0 and "line 2: CA_ROTOR0_PX must be a finite number" in " ".join(output.split())


def test_the_check_flies_it_and_says_which_rotors_may_be_lost(tmp_path: Path) -> None:
    from tests.multirotors import folder

    code, output = run("robot", "check", folder("octo_x8", tmp_path), "--json", "--plot", tmp_path / "octo.png")
    found = json.loads(output[output.index("{") : output.rindex("}") + 1])
    assert code == 0 and found["faults"] == []
    assert [row["spare"] for row in found["rows"]] == [True] * 8
    assert found["bias_difference"] < 1e-9 and 0.0 < found["rmse_m"] < 0.1
    assert (tmp_path / "octo.png").stat().st_size > 10_000
