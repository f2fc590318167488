# SPDX-License-Identifier: Apache-2.0
"""`metarl video`: recorded runs as a film."""

from __future__ import annotations

import os
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.cli.recording import read_runs
from metarl_robot.cli.video_parts import Traces, labelled
from tests.fuzz.recordings import recording

BACKENDS = [name for name, library in (("osmesa", "OSMesa"), ("egl", "EGL_mesa")) if find_library(library)]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two recordings of 60 ms of planar2."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("left", "right"):
        (folder / name).mkdir()
        (folder / name / f"{name}_0.mcap").write_bytes(recording())
    return folder


@pytest.mark.skipif(not BACKENDS, reason="neither libosmesa6 nor Mesa's EGL is installed")
def test_two_recordings_are_drawn_side_by_side(bags: Path) -> None:
    file = bags / "film.gif"
    command = [sys.executable, "-m", "metarl_robot", "video", str(bags), "--out", str(file)]
    options = ["--rate", "20", "--speed", "0.4", "--width", "160"]
    environment = {**os.environ, "MUJOCO_GL": BACKENDS[0]}
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Image.open(file) as image:
        assert image.size == (320, 136 + 160) and image.n_frames == 3  # 55 ms in steps of 20 ms
        picture = np.asarray(image.convert("RGB"), dtype=float)
    left, right = picture[45:136, :160], picture[45:136, 160:]
    assert np.abs(left - right).max() < 60.0  # the same run twice; a .gif has few colours
    assert left.std() > 5.0  # and there is something to see


def test_errors_are_shown_up_to_the_time(bags: Path) -> None:
    run = read_runs([bags / "left" / "left_0.mcap"])[0]
    run = replace(run, position_reference_m=run.position_m + np.linspace(1e-4, 1e-2, len(run.time_s))[:, None])
    traces = Traces([run], (0.0, 0.05), (400, 160))
    images = [traces.at(time_s).astype(int) for time_s in (0.0, 0.025, 0.05)]
    assert images[0].shape == (160, 400, 3)
    drawn = [(np.abs(image - images[0]).sum(axis=2) > 100).any(axis=0) for image in images]
    half, whole = (np.flatnonzero(columns) for columns in drawn[1:])
    assert len(whole) > 1.8 * len(half) > 0 and half.max() < whole.max()
    words = labelled(np.full((100, 160, 3), 255, np.uint8), run, 0.05, 0)
    assert (words[:50] < 128).any() and (words[50:] == 255).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "film.avi"], ".gif, .webp, .mp4"),
        (["--start", "3"], "the runs end at 0.055 s"),
        (["more"], "one or two recordings side by side; given 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    bags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setenv("MUJOCO_GL", os.environ.get("MUJOCO_GL", ""))  # the command sets it
    third = tmp_path / "third.mcap"
    third.write_bytes(recording())
    more = [str(third) if option == "more" else option for option in options]
    done = CliRunner().invoke(app, ["video", str(bags), *more])
    assert done.exit_code == 2 and said in " ".join(done.stderr.split())
    assert not (bags / "video.gif").exists()
