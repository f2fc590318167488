# SPDX-License-Identifier: Apache-2.0
"""`metarl picture`: an animated image of a run, drawn without a screen."""

from __future__ import annotations

import os
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
HAS_OSMESA = find_library("OSMesa") is not None


def picture(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`metarl picture …` in a process of its own: MuJoCo chooses how to draw when it is imported."""
    command = [sys.executable, "-m", "metarl_robot", "picture", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_OSMESA, reason="libosmesa6 is not installed")
def test_two_runs_are_drawn_side_by_side_and_move(tmp_path: Path) -> None:
    file = tmp_path / "run.gif"
    done = picture(
        "planar2",
        str(file),
        "--controllers",
        "pid,computed_torque",
        "--rate",
        "1.5",
        "--end",
        "5.5",
        MUJOCO_GL="osmesa",
    )
    assert done.returncode == 0, done.stderr
    with Image.open(file) as image:
        assert image.n_frames == 4 and image.size == (800, 490)
        frames = []
        for i in range(image.n_frames):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB"), dtype=float))
    for left, right in ((0, 400), (400, 800)):
        assert np.abs(frames[0][60:340, left:right] - frames[3][60:340, left:right]).max() > 50.0, "the arm has moved"


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    ["glfw", pytest.param("osmesa", marks=pytest.mark.skipif(HAS_OSMESA, reason="libosmesa6 is installed"))],
)
def test_a_machine_that_cannot_draw_is_told_the_package(tmp_path: Path, backend: str) -> None:
    no_screen = {"MUJOCO_GL": backend, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    done = picture("planar2", str(tmp_path / "run.gif"), "--controllers", "pid,computed_torque", **no_screen)
    assert done.returncode == 1 and "libosmesa6" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run.gif").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("planar2", "run.mp4"), ".webp or .gif"),
        (("planar2", "run.gif", "--controllers", "pid"), "two controllers"),
        (("x500", "run.gif"), "(quadrotor) is not one of them"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = picture(*arguments, MUJOCO_GL="disable")
    assert done.returncode == 2 and said in " ".join(done.stderr.split())


def test_the_picture_of_the_readme_is_there_and_small() -> None:
    file = ROOT / "docs" / "panda.webp"
    assert "docs/panda.webp" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert file.stat().st_size < 2e6
    with Image.open(file) as image:
        assert image.is_animated
