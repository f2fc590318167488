# SPDX-License-Identifier: Apache-2.0
"""Ports in shared memory that a killed process left unfinished do not block the nodes that come after it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from metarl_robot.cli.launch_process import node_environment
from metarl_robot.ros_nodes import shared_memory
from metarl_robot.ros_nodes.shared_memory import FOLDER, remove_unfinished_ports
from tests.ros.conftest import free_domain

UNTOUCHED, IN_THE_MAKING, FINISHED, CORRUPT = (state.to_bytes(4, sys.byteorder) + bytes(60) for state in range(4))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unfinished ports are not waited for."""
    monkeypatch.setattr(shared_memory, "MADE_WITHIN_S", 0.0)


def port(folder: Path, content: bytes, name: str = "fastrtps_port7411") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [b"", UNTOUCHED, IN_THE_MAKING])
@pytest.mark.parametrize("name", ["fastrtps_port7411", "fastdds_port31661"])
@pytest.mark.usefixtures("at_once")
def test_an_unfinished_port_is_removed(tmp_path: Path, content: bytes, name: str) -> None:
    path = port(tmp_path, content, name)
    remove_unfinished_ports(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("content", [FINISHED, CORRUPT])
@pytest.mark.usefixtures("at_once")
def test_a_finished_port_stays(tmp_path: Path, content: bytes) -> None:
    path = port(tmp_path, content)
    remove_unfinished_ports(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["fastrtps_port7411_el", "sem.fastrtps_port7411_mutex", "fastrtps_0123456789abcdef"])
@pytest.mark.usefixtures("at_once")
def test_other_files_stay(tmp_path: Path, name: str) -> None:
    path = port(tmp_path, b"", name)
    remove_unfinished_ports(tmp_path)
    assert path.exists()


def test_a_port_in_the_making_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = port(tmp_path, b"")
    monkeypatch.setattr(shared_memory, "sleep", lambda seconds: path.write_bytes(FINISHED))
    remove_unfinished_ports(tmp_path)
    assert path.read_bytes() == FINISHED


def test_a_machine_without_shared_memory_has_nothing_to_remove(tmp_path: Path) -> None:
    remove_unfinished_ports(tmp_path / "absent")


def test_a_node_starts_where_a_killed_one_left_an_unfinished_port() -> None:
    domain = free_domain()
    left = [port(FOLDER, b"", f"fastrtps_port{7400 + 250 * domain + 11 + 2 * participant}") for participant in range(3)]
    for path in left:
        path.with_name(path.name + "_el").unlink(missing_ok=True)  # it is made after the port
    command = [sys.executable, "-m", "metarl_robot.ros_nodes.gate", "--ros-args", "-p", "robot:=planar2"]
    node: Any = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**node_environment(), "ROS_DOMAIN_ID": str(domain)},
    )
    hung = threading.Timer(60.0, node.kill)  # it would hang for ever
    hung.start()
    try:
        assert any("configured" in line for line in node.stdout)
    finally:
        hung.cancel()
        node.kill()
        node.wait()
        for path in left:
            path.unlink(missing_ok=True)
