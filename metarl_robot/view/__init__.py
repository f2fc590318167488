# SPDX-License-Identifier: Apache-2.0
"""A robot in the browser: its motion in 3-D, plots, and buttons that disturb it. Served by viser; no ROS here."""

from __future__ import annotations

from importlib.util import find_spec

from metarl_robot.core.errors import MissingPackageError

LOCALHOST = "127.0.0.1"


def check_installed() -> None:
    """Raise MissingPackageError if the packages of the page are not installed."""
    if find_spec("mjviser") is None:
        raise MissingPackageError("viser and mjviser", "pip install 'metarl_robot[view]'")
