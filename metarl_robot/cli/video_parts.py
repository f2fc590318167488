# SPDX-License-Identifier: Apache-2.0
"""Parts of a video's images: the text on a robot's picture, and the errors of the runs over time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from metarl_robot.cli.figure import colour, mark_changes, new_figure, plain_log_ticks, style
from metarl_robot.cli.runlog import RunLog

Pixels = NDArray[np.uint8]
_FLOOR_MM = 1e-2
_DPI = 100
_CURSOR = (90, 90, 90)


@cache
def _font(kind: str, size: int) -> Any:
    return ImageFont.truetype(font_manager.findfont(f"DejaVu Sans:{kind}"), size)


def labelled(image: Pixels, run: RunLog, time_s: float, position: int) -> Pixels:
    """Write the run's name, the time and the error on a picture (height, width, 3)."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    error_mm = 1e3 * np.interp(time_s, run.time_s, run.error_m)
    draw.text((10, 6), run.label, font=_font("bold", 16), fill=colour(run.controller, position))
    draw.text((10, 28), f"{time_s:6.2f} s   error {error_mm:7.2f} mm", font=_font("regular", 12), fill="#444444")
    return np.asarray(canvas)


class Traces:
    """Errors of runs on a logarithmic axis, shown up to a time.

    Arguments:
        runs: one or more.
        span_s: first and last time.
        size: (width, height) [pixels].
    """

    def __init__(self, runs: Sequence[RunLog], span_s: tuple[float, float], size: tuple[int, int]) -> None:
        with style():
            figure, axes = new_figure(size[0] / _DPI, size[1] / _DPI)
            lines = [
                axes.semilogy(run.time_s, np.maximum(1e3 * run.error_m, _FLOOR_MM), color=colour(run.controller, k))[0]
                for k, run in enumerate(runs)
            ]
            axes.set(xlim=(span_s[0], max(span_s[1], span_s[0] + 1e-3)), ylabel="error [mm]")
            plain_log_ticks(axes.yaxis)
            axes.tick_params(labelsize=8)
            mark_changes(axes, runs[0].change_s, [event.what for event in runs[0].events])
            self._full = _pixels(figure, size)
            for line in lines:
                line.set_visible(False)
            self._empty = _pixels(figure, size)
            self._column = lambda time_s: int(axes.transData.transform((time_s, 1.0))[0])

    def at(self, time_s: float) -> Pixels:
        """The errors up to a time (height, width, 3)."""
        column = min(max(self._column(time_s), 0), self._full.shape[1] - 1)
        image = self._empty.copy()
        image[:, :column] = self._full[:, :column]
        image[:, column] = _CURSOR
        return image


def _pixels(figure: Any, size: tuple[int, int]) -> Pixels:
    """Draw a figure as an image (height, width, 3) of this size."""
    figure.set_dpi(_DPI)
    figure.set_size_inches(size[0] / _DPI, size[1] / _DPI)
    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[:, :, :3])
    return np.asarray(image.resize(size) if image.size != size else image).copy()
