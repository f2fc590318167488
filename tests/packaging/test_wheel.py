"""`pip install .`: everything is in the wheel, and works from anywhere without the sources."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def installed(wheel: Path, new_environment: Callable[[], Any]) -> Any:
    environment = new_environment()
    environment.install(wheel)
    return environment


def files_below(folder: Path, *patterns: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for pattern in patterns for path in folder.rglob(pattern)}


def python_modules(root: Path) -> set[str]:
    rooms = {f"{room}/{name}" for room in ("sim", "ros_nodes") for name in files_below(root / room, "*.py")}
    return rooms | {name for name in files_below(root / "metarl_robot", "*.py") if name.split("/")[0] not in ("sim", "ros_nodes")}


def test_the_wheel_holds_every_module_and_template(root: Path, wheel: Path) -> None:
    expected = python_modules(root) | files_below(root / "metarl_robot", "*.j2", "py.typed")
    inside = {name.removeprefix("metarl_robot/") for name in zipfile.ZipFile(wheel).namelist() if name.startswith("metarl_robot/")}
    assert expected <= inside


@pytest.mark.parametrize("place", ["package", "share"])
def test_robots_are_installed_for_python_and_for_ros(root: Path, installed: Any, place: str) -> None:
    models = {"package": installed.site_packages / "metarl_robot/models", "share": installed.prefix / "share/metarl_robot/models"}[place]
    expected = files_below(root / "models", "*.xml", "*.yaml", "*.json", "*.safetensors")
    assert {"panda/robot.xml", "planar2/robot.yaml"} <= expected
    assert expected == files_below(models, "*.*")


def test_launch_files_and_the_package_marker_are_where_ros_looks(root: Path, installed: Any) -> None:
    share = installed.prefix / "share"
    assert files_below(root / "launch", "*.yaml") == files_below(share / "metarl_robot/launch", "*")
    assert (share / "ament_index/resource_index/packages/metarl_robot").is_file()
    assert (share / "metarl_robot/package.xml").read_bytes() == (root / "package.xml").read_bytes()


def test_a_source_distribution_builds_the_same_wheel(wheel: Path, wheel_from_sdist: Path) -> None:
    assert zipfile.ZipFile(wheel_from_sdist).namelist() == zipfile.ZipFile(wheel).namelist()


def test_only_metarl_is_put_on_path(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert archive.read(entry_points).decode().split() == ["[console_scripts]", "metarl", "=", "metarl_robot.cli.app:main"]
    assert not any(".data/scripts/" in name for name in archive.namelist())


def test_metarl_finds_the_installed_robots_from_anywhere(installed: Any) -> None:
    robots = json.loads(installed.run("metarl", "robots", "--json"))
    assert {"panda", "planar2"} <= {robot["name"] for robot in robots}
    assert all(Path(robot["folder"]).is_relative_to(installed.prefix) for robot in robots)


def test_the_same_with_python_m(installed: Any) -> None:
    assert installed.run("python", "-m", "metarl_robot", "robots", "--json") == installed.run("metarl", "robots", "--json")


def test_the_linked_folders_are_no_packages_of_their_own(installed: Any) -> None:
    program = "from importlib.util import find_spec; print([name for name in ('sim', 'ros_nodes', 'models') if find_spec(name)])"
    assert installed.run("python", "-c", program).strip() == "[]"


def test_every_node_is_an_executable_where_ros_looks(root: Path, installed: Any) -> None:
    nodes = {path.stem for path in (root / "ros_nodes").glob("*.py") if "\ndef main(" in path.read_text(encoding="utf-8")}
    scripts = sorted((installed.prefix / "lib/metarl_robot").iterdir())
    assert {script.name for script in scripts} == nodes
    assert all(os.access(script, os.X_OK) for script in scripts)
    program = "import runpy, sys\nfor script in sys.argv[1:]: print(runpy.run_path(script)['main'].__module__)"
    mains = installed.run("python", "-c", program, *scripts).split()
    assert mains == [f"metarl_robot.ros_nodes.{script.name}" for script in scripts]


def test_an_installed_node_starts_and_stops(installed: Any) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    node = [installed.prefix / "lib/metarl_robot/gate", "--ros-args", "-p", "robot:=planar2"]
    with subprocess.Popen(node, cwd=installed.elsewhere, env=installed.variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        ...
