# SPDX-License-Identifier: Apache-2.0
"""Folder of rclpy's log files: the user's choice, the home, or a temporary folder.

rcl ends a process if it cannot create its log folder (rcl_logging_spdlog: `ROS_LOG_DIR`, else `ROS_HOME`/log, else
~/.ros/log). A home that is full, read-only or missing must not leave a robot without its gate.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import MutableMapping
from pathlib import Path


def ensure_log_folder(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set `ROS_LOG_DIR` to a temporary folder, with a warning, if the present folder is not writable."""
    folder = _folder(environment)
    if not _is_writable(folder):
        environment["ROS_LOG_DIR"] = tempfile.mkdtemp(prefix="ros_log_")
        print(
            f"warning: {folder}: log files cannot be written here; they are in "
            f"{environment['ROS_LOG_DIR']} (ROS_LOG_DIR says where else)",
            file=sys.stderr,
            flush=True,
        )


def _folder(environment: MutableMapping[str, str]) -> Path:
    if environment.get("ROS_LOG_DIR"):
        return Path(environment["ROS_LOG_DIR"])
    home = environment.get("ROS_HOME") or str(Path(environment.get("HOME", "/")) / ".ros")
    return Path(home) / "log"


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
