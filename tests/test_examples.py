# SPDX-License-Identifier: Apache-2.0
"""Every example runs as a user would run it, and does as its first lines promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run_example(name: str, *arguments: str, cwd: Path) -> str:
    """Standard output of `python examples/NAME …`, run from elsewhere so that nothing depends on the checkout's
    folder.
    """
    done = subprocess.run([sys.executable, EXAMPLES / name, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def joint_errors(text: str) -> list[float]:
    """The errors [mrad] that example 01 prints, one each half second."""
    return [float(value) for value in re.findall(r"largest joint error\s+([\d.]+) mrad", text)]


def test_no_example_is_forgotten() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "01_own_loop.py",
        "02_own_controller.py",
        "03_own_robot.py",
        "04_own_flight_loop.py",
        "05_own_car.py",
    }


@pytest.mark.slow
@pytest.mark.parametrize("controller", ["pid", "computed_torque"])
def test_own_loop_feels_the_payload(tmp_path: Path, controller: str) -> None:
    errors = joint_errors(run_example("01_own_loop.py", "planar2", controller, cwd=tmp_path))
    assert len(errors) == 12
    before, after = errors[:4], errors[5:]
    if controller == "computed_torque":
        assert max(before) < 2.0 < min(after), "exact dynamics before the pick-up, an unmodelled load after it"
    else:
        assert max(errors) < 500.0


@pytest.mark.slow
def test_own_controller_runs_beside_ours(tmp_path: Path) -> None:
    text = run_example("02_own_controller.py", cwd=tmp_path)
    after = dict(re.findall(r"(\w+)\s+before .* after the pick-up\s+([\d.]+) mm", text))
    assert after.keys() == {"impedance", "pid"}
    assert float(after["impedance"]) > float(after["pid"]), "without an integrator the load leaves an offset"


@pytest.mark.slow
def test_own_robot_is_loaded_and_moved(tmp_path: Path) -> None:
    text = run_example("03_own_robot.py", "arm", cwd=tmp_path)
    found = re.search(r"my_arm: 2 joints, followed its reference to ([\d.]+) mm", text)
    assert found and float(found[1]) < 10.0
    assert (tmp_path / "arm" / "robot.yaml").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("robot", "controller", "command"),
    [
        ("x500", "offset_free_mpc", "thrusts"),
        ("x500", "se3", "speeds"),
        ("crazyflie", "pid", "rates"),
        ("hummingbird", "offset_free_mpc", "rates"),
    ],
)
def test_own_flight_loop_carries_the_payload(tmp_path: Path, robot: str, controller: str, command: str) -> None:
    text = run_example("04_own_flight_loop.py", robot, controller, "--command", command, cwd=tmp_path)
    errors = [float(value) for value in re.findall(r"position error\s+([\d.]+) cm   solved", text)]
    assert len(errors) == 16, "every half second, solved"
    assert max(errors[:9]) < 3.0 and max(errors[9:12]) < 6.0 and max(errors[12:]) < 1.0


@pytest.mark.slow
def test_own_car_stays_on_its_course_when_the_road_gets_wet(tmp_path: Path) -> None:
    text = run_example("05_own_car.py", cwd=tmp_path)
    errors = [float(value) for value in re.findall(r"path error\s+([\d.]+) cm .* solved", text)]
    assert len(errors) == 24, "every half second, solved"
    assert max(errors[6:]) < 4.0, "after the start"
