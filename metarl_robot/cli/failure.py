# SPDX-License-Identifier: Apache-2.0
"""Errors as the user sees them: one paragraph and an exit code; an internal error's traceback goes to a file."""

from __future__ import annotations

import errno
import os
import platform
import sys
import tempfile
import traceback

from metarl_robot import __version__
from metarl_robot.cli.console import note
from metarl_robot.core.errors import MetaRLError, shortened

FAILED, BAD_INPUT, DEFECT = 1, 2, 70  # 70: EX_SOFTWARE of sysexits.h
_LONGEST = 8000
_OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_BASE = "pip install metarl_robot"
_LOGS = "pip install 'metarl_robot[logs]'"
_TRAIN = "pip install 'metarl_robot[train]'"
_ROS = "source a ROS 2 installation, or pip install 'metarl_robot[ros]'"
_REMEDIES = dict.fromkeys(("torch", "threadpoolctl", "gymnasium"), _TRAIN)
_REMEDIES |= dict.fromkeys(("pyarrow", "h5py"), _LOGS)
_REMEDIES |= dict.fromkeys(
    ("casadi", "mujoco", "scipy", "matplotlib", "mcap", "mcap_ros2", "rosbags", "jinja2", "safetensors"), _BASE
)
_REMEDIES["imageio_ffmpeg"] = "pip install 'metarl_robot[video]'"
_ROS_PACKAGES = ("rclpy", "ament_index_python", "builtin_interfaces", "rcl_interfaces")


def paragraph(error: MetaRLError | OSError | ImportError) -> str | None:
    """The error in one paragraph; None for a failed import that the user cannot fix."""
    if isinstance(error, ImportError):
        remedy = remedy_for(error.name)
        return None if remedy is None else f"this needs {error.name}, which is not installed: {remedy}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{shortened(str(error.filename))}: {error.strerror}"
    return str(error)[:_LONGEST] or type(error).__name__


def remedy_for(module: str | None) -> str | None:
    """How to install a package that could not be imported."""
    package = (module or "").partition(".")[0]
    if package in _ROS_PACKAGES or package.endswith(("_msgs", "_srvs")):
        return _ROS
    return _REMEDIES.get(package)


def exit_code_of(error: MetaRLError | OSError | ImportError) -> int:
    """Exit code: BAD_INPUT for wrong input, FAILED if the work failed."""
    if isinstance(error, MetaRLError):
        return BAD_INPUT if error.bad_input else FAILED
    missing = isinstance(error, ImportError) or error.errno in _OUT_OF_ROOM
    return FAILED if missing else BAD_INPUT


def is_a_reader_gone(error: BaseException) -> bool:
    """True for a closed pipe, as after `| head`: nobody reads the output any more."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def say(text: str) -> None:
    """Print an error on stderr."""
    note(text, label="error", style="bold red")


def report_defect(error: Exception) -> None:
    """Write the traceback to a file and print its path."""
    cause = shortened(f"{type(error).__name__}: {error}")
    say(f"{cause}. This is a defect of metarl_robot; please report it{_kept(error)}")


def _kept(error: Exception) -> str:
    lines = [f"metarl_robot {__version__}, Python {platform.python_version()}, {platform.platform()}"]
    lines += [f"command: {sys.argv[:50]!r}", *traceback.format_exception(error)]
    try:
        handle, path = tempfile.mkstemp(prefix="metarl_defect_", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join(lines))
    except OSError:
        return "; metarl --debug shows the traceback"
    return f" with {path}, or with the output of metarl --debug"
