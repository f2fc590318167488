# SPDX-License-Identifier: Apache-2.0
"""`metarl picture`: an animated image of a robot that picks up a body, two controllers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarl_robot.cli.console import examples, note, parse_names
from metarl_robot.cli.demo_options import SET_HELP, DemoCommand, read_settings
from metarl_robot.core.errors import MetaRLError

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot
    from metarl_robot.sim.demo import Carried, Demo
    from metarl_robot.sim.episode import Episode

_EPILOG = examples(
    ("metarl picture panda docs/panda.webp --seed 1", "the picture in the README"),
    ("metarl picture planar2 planar2.gif --controllers pid,meta_mpc", "another robot, other controllers"),
    note="Draws without a screen through OSMesa (Debian and Ubuntu: libosmesa6), or through EGL with MUJOCO_GL=egl.",
)
_FILES = (".webp", ".gif")
_PANEL = (400, 340)  # pixels
_TRACE_HEIGHT = 150
_FROM_S = 3.0
_TITLES = {"nominal_mpc": "without adaptation", "meta_mpc": "with adaptation"}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("picture", cls=DemoCommand, epilog=_EPILOG)(picture)


def picture(
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="A robot's name (metarl robots) or folder; arms only.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Animated image to write: .webp or .gif.")],
    controllers: Annotated[str, typer.Option(help="Two controllers, separated by a comma.")] = "nominal_mpc,meta_mpc",
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of motion, conditions and sensor noise.")] = 0,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help=SET_HELP)] = None,
    rate: Annotated[float, typer.Option(min=1.0, max=30.0, help="Images per second.")] = 12.5,
    end: Annotated[
        float, typer.Option(min=5.5, max=10.0, help="Last time shown [s]; the payload is picked up at 5 s.")
    ] = 9.0,
) -> None:
    """Draw a robot's demo as an animated image, without and with adaptation side by side."""
    from metarl_robot.core.robot import load_robot
    from metarl_robot.sim.kinds import simulation
    from metarl_robot.sim.renderer import choose_renderer

    names = parse_names(controllers)
    if file.suffix not in _FILES or len(names) != 2:
        raise MetaRLError(
            f"metarl picture needs two controllers and a file in {' or '.join(_FILES)}; given: {controllers}, {file}"
        )
    choose_renderer("osmesa")
    loaded = load_robot(robot)
    task = simulation(loaded).demo(seed, **read_settings(settings or ()))
    carried = _carried(loaded, task)
    images = _images(loaded, _runs(loaded, names, task), carried, rate, end)
    file.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 70, "method": 4, "minimize_size": True} if file.suffix == ".webp" else {"optimize": True}
    images[0].save(file, save_all=True, append_images=images[1:], duration=round(1e3 / rate), loop=0, **options)
    note(f"{file}: {len(images)} images, {file.stat().st_size / 1e6:.2f} MB")


def _carried(robot: Robot, task: Demo) -> Carried:
    """The body that the demo's robot picks up. Raises MetaRLError if the demo cannot be drawn."""
    from metarl_robot.sim.demo import SUITE

    if "scenario" not in task.arguments or task.carried is None:
        about = f"the demo of '{robot.name}' ({robot.kind}) is not one of them"
        raise MetaRLError(f"metarl picture draws runs of suite {SUITE} in which a body is picked up; {about}")
    return task.carried


def _runs(robot: Robot, names: Sequence[str], task: Demo) -> list[Episode]:
    """Run the demo's conditions in simulation, once for each controller."""
    from metarl_robot.control.factory import make_controller
    from metarl_robot.sim.demo import SUITE
    from metarl_robot.sim.episode import run_episode
    from metarl_robot.sim.kinds import simulation

    changes = tuple((change.time_s, change.task) for change in task.changes)
    drawn = simulation(robot).scenario(SUITE, task.arguments["scenario"], task.seed)
    scenario = replace(drawn, initial=task.before, changes=changes)
    made = {name: make_controller(robot, name) for name in names}
    return [run_episode(robot, lambda _: made[name], scenario, name) for name in names]  # noqa: B023 - called at once


def _images(robot: Robot, runs: Sequence[Episode], carried: Carried, rate_hz: float, end_s: float) -> list[Any]:
    """Make all images: two panels, and below them the error traces up to the image's time."""
    import numpy as np
    from PIL import Image

    from metarl_robot.sim.scene import Pose, Scene

    change_s, log = runs[0].scenario.changes[0][0], runs[0].log
    waiting, span_m = log.q[np.searchsorted(log.times, change_s)], np.linalg.norm(log.position_reference, axis=1).max()
    scene = Scene(robot, waiting, carried, float(span_m), _PANEL)
    traces = _Traces(runs, carried.label, change_s, end_s)
    images = []
    for time_s in np.arange(_FROM_S, end_s, 1.0 / rate_hz):
        k = int(np.searchsorted(log.times, time_s))
        poses = [Pose(run.log.q[k], run.log.position_reference[k], bool(time_s >= change_s)) for run in runs]
        top = [_labelled(scene.draw(pose), run, k) for pose, run in zip(poses, runs, strict=True)]
        images.append(Image.fromarray(np.concatenate([np.concatenate(top, axis=1), traces.draw(time_s)], axis=0)))
    scene.close()
    return images


def _labelled(image: Any, run: Episode, k: int) -> Any:
    """Write the controller's name and its error at step k on the image."""
    import numpy as np
    from matplotlib import font_manager
    from PIL import Image, ImageDraw, ImageFont

    from metarl_robot.cli.figure import colour
    from metarl_robot.sim.scene import MAGNIFICATION

    canvas = Image.fromarray(image)
    draw, name = ImageDraw.Draw(canvas), run.result.controller
    bold, plain = (
        ImageFont.truetype(font_manager.findfont(f"DejaVu Sans:{kind}"), size)
        for kind, size in (("bold", 17), ("regular", 13))
    )
    draw.text((12, 8), _TITLES.get(name, name), font=bold, fill=colour(name, 0))
    draw.text(
        (12, 32),
        f"error {1e3 * run.log.error_m[k]:6.2f} mm   (red bar: × {MAGNIFICATION:.0f})",
        font=plain,
        fill="#444444",
    )
    return np.asarray(canvas)


class _Traces:
    """Errors over time on a logarithmic axis, drawn up to a given time."""

    def __init__(self, runs: Sequence[Episode], label: str, change_s: float, end_s: float) -> None:
        import matplotlib.pyplot as plt

        from metarl_robot.cli.figure import colour, style

        self._runs = runs
        with style():
            self._figure, axes = plt.subplots(figsize=(2 * _PANEL[0] / 100, _TRACE_HEIGHT / 100), dpi=100)
            self._lines = [
                axes.plot([], [], color=colour(run.result.controller, i), lw=1.6)[0] for i, run in enumerate(runs)
            ]
            axes.set(xlim=(_FROM_S, end_s), ylim=(0.01, 100.0), yscale="log", ylabel="error [mm]")
            axes.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
            axes.axvline(change_s, color="#888888", lw=0.8, ls="--")
            axes.text(change_s + 0.05, 40.0, label, fontsize=8, color="#555555", va="center")
            axes.tick_params(labelsize=8)
            self._figure.tight_layout(pad=0.4)

    def draw(self, time_s: float) -> Any:
        """Draw the traces up to time_s; returns an image (height, width, 3)."""
        import numpy as np

        for run, line in zip(self._runs, self._lines, strict=True):
            shown = (run.log.times >= _FROM_S) & (run.log.times <= time_s)
            line.set_data(run.log.times[shown], 1e3 * run.log.error_m[shown])
        self._figure.canvas.draw()
        return np.asarray(self._figure.canvas.buffer_rgba())[:, :, :3].copy()  # type: ignore[attr-defined]
