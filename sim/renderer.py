# SPDX-License-Identifier: Apache-2.0
"""MuJoCo's off-screen renderer: MUJOCO_GL chooses its back end, which is loaded when MuJoCo is imported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from metarl_robot.core.errors import MissingPackageError, one_line

if TYPE_CHECKING:
    import mujoco


def choose_renderer(backend: str) -> None:
    """Import MuJoCo with this back end, unless MUJOCO_GL names another. Raises MissingPackageError."""
    os.environ.setdefault("MUJOCO_GL", backend)
    try:
        import mujoco  # noqa: F401
    except Exception as error:  # PyOpenGL's, of many types, where its system library is missing
        raise no_renderer(error) from error


def offscreen(model: mujoco.MjModel, size: tuple[int, int]) -> mujoco.Renderer:
    """A renderer of images of size (width, height) [pixels]. Raises MissingPackageError."""
    import mujoco

    try:
        return mujoco.Renderer(model, height=size[1], width=size[0])
    except Exception as error:  # PyOpenGL's and MuJoCo's own, of many types
        raise no_renderer(error) from error


def no_renderer(error: Exception) -> MissingPackageError:
    """The error that names the system library to install."""
    backend = os.environ.get("MUJOCO_GL", "not set")
    return MissingPackageError(
        f"an off-screen renderer (MUJOCO_GL={backend})",
        "on Debian and Ubuntu: sudo apt install libosmesa6, and MUJOCO_GL=osmesa; or MUJOCO_GL=egl with a GPU. "
        + one_line(error),
    )
