# SPDX-License-Identifier: Apache-2.0
"""`metarl video`: recorded runs as a film, one or two side by side, with their error traces below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli.console import err, examples, note
from metarl_robot.core.errors import MetaRLError

if TYPE_CHECKING:
    from metarl_robot.cli.runlog import Array, RunLog

_EPILOG = examples(
    ("metarl video runs/2026-11-30_12-00-00", "both runs of a metarl demo, side by side"),
    ("metarl video runs/a/meta_mpc runs/b/pid --out race.mp4", "two recordings; .mp4 needs the extra 'video'"),
    note="Draws without a screen through OSMesa (Debian and Ubuntu: libosmesa6), or through EGL with MUJOCO_GL=egl.",
)
FILES = (".gif", ".webp", ".mp4")
_TRACE_HEIGHT = 160
_PAST_S = 2.0
_PAST_POINTS = 40
_SAMPLES = 50  # positions of each run for the camera
_RUNS_HELP = "Recordings: .mcap files, rosbag2 folders, or folders with them, such as a run of metarl demo; one or two."


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("video", epilog=_EPILOG)(video)


def video(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help=_RUNS_HELP)],
    target: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="A .gif, .webp or .mp4; default: video.gif in the first folder."),
    ] = None,
    rate: Annotated[float, typer.Option(min=1.0, max=60.0, help="Images per second.")] = 15.0,
    start: Annotated[float, typer.Option(min=0.0, help="First time shown [s].")] = 0.0,
    end: Annotated[float | None, typer.Option(min=0.0, help="Last time shown [s]; default: the end.")] = None,
    speed: Annotated[float, typer.Option(min=0.1, max=20.0, help="Seconds of the run in a second of the film.")] = 1.0,
    width: Annotated[int, typer.Option(min=160, max=1920, help="Width of a robot's picture [pixels].")] = 400,
) -> None:
    """Draw recorded runs as a film: the robots side by side, their errors below."""
    from metarl_robot.cli.plot import recordings_in

    path = target or (runs[0] if runs[0].is_dir() else runs[0].parent) / "video.gif"
    if path.suffix not in FILES:
        raise MetaRLError(f"metarl video writes {', '.join(FILES)}; given: {path}")
    recordings = [recording for run in runs for recording in recordings_in(run)]
    if len(recordings) > 2:
        given = ", ".join(str(recording) for recording in recordings)
        raise MetaRLError(f"metarl video shows one or two recordings side by side; given {len(recordings)}: {given}")
    save = _saver(path, rate)
    logs = _read(recordings)
    times = _times(logs, start, end, speed / rate)
    images = [*_images(logs, times, (width // 2 * 2, round(0.85 * width) // 2 * 2))]
    path.parent.mkdir(parents=True, exist_ok=True)
    save(images)
    note(f"{path}: {len(images)} images, {path.stat().st_size / 1e6:.2f} MB")


def _read(recordings: Sequence[Path]) -> list[RunLog]:
    """The runs. Raises MetaRLError if they are of different robots or MuJoCo cannot draw."""
    from metarl_robot.sim.renderer import choose_renderer

    choose_renderer("osmesa")
    from metarl_robot.cli.recording import read_runs

    with err().status("reading the recordings"):
        logs = read_runs(recordings)
    if len({log.robot for log in logs}) > 1:
        raise MetaRLError(f"the runs are of different robots: {', '.join(log.robot for log in logs)}")
    return logs


def _times(logs: Sequence[RunLog], start_s: float, end_s: float | None, step_s: float) -> Array:
    """Times of the images [s]. Raises MetaRLError if no run has one."""
    import numpy as np

    last_s = max(float(log.time_s[-1]) for log in logs)
    until_s = last_s if end_s is None else min(end_s, last_s)
    if until_s <= start_s:
        raise MetaRLError(f"nothing to show from {start_s:g} s to {until_s:g} s; the runs end at {last_s:.3g} s")
    return np.arange(start_s, until_s, step_s)


def _images(logs: Sequence[RunLog], times: Array, size: tuple[int, int]) -> Iterator[Any]:
    """The images (height, width, 3): robots, and below them the errors up to the image's time."""
    import numpy as np

    from metarl_robot.cli.video_parts import Traces, labelled
    from metarl_robot.core.robot import load_robot
    from metarl_robot.sim.run_scene import RunScene

    robot = load_robot(logs[0].robot)
    motion = np.concatenate([log.q[:: max(1, len(log.q) // _SAMPLES)] for log in logs])
    references = np.concatenate([log.position_reference_m for log in logs])
    scene = RunScene(robot, motion, references, size)
    traces = Traces(logs, (float(times[0]), float(times[-1])), (size[0] * len(logs), _TRACE_HEIGHT))
    try:
        for time_s in times:
            top = [labelled(scene.draw(_moment(log, time_s)), log, time_s, k) for k, log in enumerate(logs)]
            yield np.concatenate([np.concatenate(top, axis=1), traces.at(time_s)], axis=0)
    finally:
        scene.close()


def _moment(log: RunLog, time_s: float) -> Any:
    """What to draw of a run at a time."""
    import numpy as np

    from metarl_robot.sim.run_scene import Moment

    k = int(np.clip(np.searchsorted(log.time_s, time_s, side="right") - 1, 0, len(log.time_s) - 1))
    since = int(np.searchsorted(log.time_s, log.time_s[k] - _PAST_S))
    past = np.unique(np.linspace(since, k, _PAST_POINTS).astype(int))
    return Moment(log.q[k], log.position_reference_m[k], log.position_reference_m[past], log.position_m[past])


def _saver(path: Path, rate_hz: float) -> Any:
    """A function that writes images to the file; an ImportError for .mp4 comes before anything is drawn."""
    if path.suffix != ".mp4":
        return lambda images: _save_animation(path, images, rate_hz)
    import imageio_ffmpeg

    return lambda images: _save_mp4(imageio_ffmpeg, path, images, rate_hz)


def _save_animation(path: Path, images: Sequence[Any], rate_hz: float) -> None:
    from PIL import Image

    frames = [Image.fromarray(image) for image in images]
    options = {"quality": 70, "method": 4} if path.suffix == ".webp" else {"optimize": True}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(1e3 / rate_hz), loop=0, **options)


def _save_mp4(ffmpeg: Any, path: Path, images: Sequence[Any], rate_hz: float) -> None:
    height, width = images[0].shape[:2]
    writer = ffmpeg.write_frames(str(path), (width, height), fps=rate_hz, macro_block_size=2, quality=7)
    writer.send(None)
    for image in images:
        writer.send(image.tobytes())
    writer.close()
