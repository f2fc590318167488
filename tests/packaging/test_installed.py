# SPDX-License-Identifier: Apache-2.0
"""`pip install .`, `pip install -e .` and `colcon build` all give a working command, working nodes and working launch
files.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


def places(installation: Any, sources: Path) -> list[Path]:
    """Where installed files may be: an editable installation leaves them in the sources."""
    return [installation.prefix, sources]


def nodes(root: Path) -> list[str]:
    return sorted(
        path.stem for path in (root / "ros_nodes").rglob("*.py") if "\ndef main(" in path.read_text(encoding="utf-8")
    )


def files_below(folder: Path, *patterns: str) -> set[str]:
    return {
        path.relative_to(folder).as_posix() for pattern in patterns for path in folder.rglob(pattern) if path.is_file()
    }


def test_metarl_finds_the_installed_robots_from_anywhere(installed: Any, sources: Path) -> None:
    robots = json.loads(installed.run("metarl", "robots", "--json"))
    assert {"panda", "planar2"} <= {robot["name"] for robot in robots}
    for robot in robots:
        assert any(Path(robot["folder"]).is_relative_to(place) for place in places(installed, sources))


def test_python_m_is_the_same_command(installed: Any) -> None:
    assert installed.run("python3", "-m", "metarl_robot", "robots", "--json") == installed.run(
        "metarl", "robots", "--json"
    )


def test_the_linked_folders_are_no_packages_of_their_own(installed: Any) -> None:
    program = (
        "from importlib.util import find_spec; print([name for name in ('sim', 'ros_nodes', 'benchmarks', 'models') if "
        "find_spec(name)])"
    )
    assert installed.run("python3", "-c", program).strip() == "[]"


def test_a_launch_file_starts_nodes_that_drive_the_arm(installed: Any) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    installed.run_until(
        "[gate]: passing", "metarl", "launch", "arm", "robot:=planar2", "controller:=pid", "lockstep:=true"
    )


@pytest.mark.parametrize("way", ["from_wheel", "from_colcon"])
def test_every_node_is_an_executable_where_ros_looks(way: str, request: pytest.FixtureRequest, root: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    installation = request.getfixturevalue(way)
    scripts = sorted((installation.prefix / "lib/metarl_robot").iterdir())
    assert [script.name for script in scripts] == nodes(root)
    assert all(os.access(script, os.X_OK) for script in scripts)
    program = "import runpy, sys\nfor script in sys.argv[1:]: print(runpy.run_path(script)['main'].__module__)"
    mains = installation.run("python3", "-c", program, *scripts).split()
    assert all(main.startswith("metarl_robot.ros_nodes.") for main in mains)
    assert [main.rpartition(".")[2] for main in mains] == [script.name for script in scripts]


@pytest.mark.parametrize("way", ["from_wheel", "from_colcon"])
def test_such_an_executable_runs(way: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    installation = request.getfixturevalue(way)
    gate = installation.prefix / "lib/metarl_robot/gate"
    installation.run_until("activated", gate, "--ros-args", "-p", "robot:=planar2")


@pytest.mark.parametrize("way", ["from_wheel", "from_colcon"])
def test_robots_and_launch_files_are_in_the_share_folder(way: str, request: pytest.FixtureRequest, root: Path) -> None:
    installation = request.getfixturevalue(way)
    share = installation.prefix / "share"
    models = files_below(root / "models", "*.xml", "*.yaml", "*.json", "*.safetensors", "*.txt")
    assert {"panda/robot.xml", "planar2/robot.yaml"} <= models
    assert (
        models
        == files_below(share / "metarl_robot/models", "*")
        == files_below(installation.modules / "metarl_robot/models", "*")
    )
    assert files_below(root / "launch", "*.yaml", "*.xml") == files_below(share / "metarl_robot/launch", "*")
    for tool in ("foxglove", "plotjuggler", "rviz"):
        assert files_below(root / "share" / tool, "*") == files_below(share / "metarl_robot" / tool, "*") != set()
    assert (share / "ament_index/resource_index/packages/metarl_robot").is_file()
    assert (share / "metarl_robot/package.xml").read_bytes() == (root / "package.xml").read_bytes()


def test_ament_finds_the_package_of_a_sourced_workspace(from_colcon: Any) -> None:
    pytest.importorskip("ament_index_python", reason="ROS 2 is not installed")
    program = (
        "from ament_index_python.packages import get_package_share_directory as share; print(share('metarl_robot'))"
    )
    assert Path(from_colcon.run("python3", "-c", program).strip()) == from_colcon.prefix / "share/metarl_robot"


def test_an_edit_takes_effect_at_once_in_an_editable_installation(editable: Any, sources: Path) -> None:
    module = sources / "sim" / "written_by_a_test.py"
    module.write_text("ANSWER = 42\n", encoding="utf-8")
    try:
        assert (
            editable.run(
                "python3", "-c", "from metarl_robot.sim.written_by_a_test import ANSWER; print(ANSWER)"
            ).strip()
            == "42"
        )
    finally:
        module.unlink()
