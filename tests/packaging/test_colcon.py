"""`colcon build`: after sourcing the workspace, the command is on PATH and ROS 2 finds the package, its nodes and launch files."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def workspace(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    colcon = shutil.which("colcon", path=f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}")
    if colcon is None:
        pytest.skip("colcon is not installed: pip install colcon-common-extensions")
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(sources, folder / "src" / "metarl_robot", symlinks=True, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    built = subprocess.run([colcon, "build"], cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def sourced(workspace: Path, *command: str) -> str:
    """Standard output of a command in a shell that has sourced the workspace, somewhere else."""
    script = f". {shlex.quote(str(workspace / 'install' / 'setup.sh'))} && {shlex.join(command)}"
    variables = os.environ | {"PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", script], cwd="/", env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_metarl_is_on_path_and_finds_the_installed_robots(workspace: Path) -> None:
    robots = json.loads(sourced(workspace, "metarl", "robots", "--json"))
    assert {"panda", "planar2"} <= {robot["name"] for robot in robots}
    assert all(Path(robot["folder"]).is_relative_to(workspace / "install") for robot in robots)


@pytest.mark.parametrize("node", ["plant", "reference", "mpc", "gate", "recorder"])
def test_nodes_are_where_ros2_run_looks(workspace: Path, node: str) -> None:
    script = workspace / "install/metarl_robot/lib/metarl_robot" / node
    assert os.access(script, os.X_OK)
    program = f"import runpy; print(runpy.run_path({str(script)!r})['main'].__module__)"
    assert sourced(workspace, "python3", "-c", program).strip() == f"metarl_robot.ros_nodes.{node}"


def test_ament_finds_the_package_with_launch_files_and_robots(workspace: Path, root: Path) -> None:
    pytest.importorskip("ament_index_python", reason="ROS 2 is not installed")
    program = "from ament_index_python.packages import get_package_share_directory as share; print(share('metarl_robot'))"
    share = Path(sourced(workspace, "python3", "-c", program).strip())
    assert share == workspace / "install/metarl_robot/share/metarl_robot"
    for folder, pattern in (("launch", "*.yaml"), ("models", "*.*")):
        expected = {path.relative_to(root / folder) for path in (root / folder).rglob(pattern)}
        assert expected == {path.relative_to(share / folder) for path in (share / folder).rglob(pattern)}
