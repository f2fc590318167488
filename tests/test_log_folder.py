# SPDX-License-Identifier: Apache-2.0
"""A node's log files go elsewhere where the home cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from metarl_robot.ros_nodes.log_folder import ensure_log_folder


def test_a_home_that_cannot_be_written_ends_no_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    home.write_text("a file")
    environment = {"HOME": str(home)}
    ensure_log_folder(environment)
    assert Path(environment["ROS_LOG_DIR"]).is_dir()
    assert str(home) in capsys.readouterr().err


def test_a_home_that_can_be_written_is_used(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    ensure_log_folder(environment)
    assert "ROS_LOG_DIR" not in environment and (tmp_path / ".ros" / "log").is_dir()
