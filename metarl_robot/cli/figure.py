# SPDX-License-Identifier: Apache-2.0
"""Common parts of all figures: colours for colour-blind readers, sizes, markers and files.

Colours: Okabe & Ito, "Color Universal Design" (2008). A controller has the same colour in every figure.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError

Array = NDArray[np.float64]

_BLACK, _ORANGE, _SKY, _GREEN, _YELLOW, _BLUE, _VERMILLION, _PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
TRUTH_COLOUR = _BLACK
_COLOURS = {
    "meta_mpc": _BLUE,
    "nominal_mpc": _VERMILLION,
    "offset_free_mpc": _ORANGE,
    "oracle_mpc": _GREEN,
    "pid": _PURPLE,
    "computed_torque": _SKY,
}
_SPARE = ("#666666", "#8B5A2B", "#7FC97F", "#9E0142", _YELLOW)
_STYLE = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#333333",
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "svg.fonttype": "none",
    "svg.hashsalt": "metarl_robot",
    "figure.dpi": 100,
}
_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
IMAGES = ("svg", "png", "pdf")


@contextmanager
def style() -> Iterator[None]:
    """Apply the project's plot style within the block."""
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def colour(controller: str, position: int = 0) -> str:
    """Colour of a controller; controllers from other packages get a spare colour, chosen by `position`."""
    return _COLOURS.get(controller, spare_colour(position))


def spare_colour(position: int) -> str:
    """A colour that no controller uses."""
    return _SPARE[position % len(_SPARE)]


def mark_changes(axes: Axes, times_s: Sequence[float], labels: Sequence[str] = ()) -> None:
    """Draw a dashed vertical line at each change, with its label at the top."""
    for time in times_s:
        axes.axvline(time, color="#555555", linewidth=1.0, linestyle=(0, (4, 3)), zorder=1.5)
    for time, label in zip(times_s, labels, strict=False):
        axes.annotate(
            label,
            (time, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -3),
            textcoords="offset points",
            va="top",
            ha="left",
            fontsize=8.5,
            color="#555555",
            bbox=_PAPER,
        )


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers; with ticks at 1, 2 and 5 if it spans fewer than three decades."""
    low, high = axis.get_view_interval()
    few = high / max(low, 1e-300) < 1e3
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], gap: float = 0.075) -> None:
    """Write each curve's name to the right of its end; names that would overlap are moved apart.

    ends: (x, y, text, colour) of each curve's last point; gap: smallest distance, as a fraction of the axes' height.
    """
    if not ends:
        return
    axes.autoscale_view()  # autoscaling is lazy; data coordinates are invalid before this
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = np.array([np.clip(to_axes.transform((x, y))[1], 0.0, 1.0) for x, y, _, _ in ends])
    for order in np.argsort(heights)[None, :]:
        heights[order] = spread(heights[order], gap)
    for (_, _, text, shade), height in zip(ends, heights, strict=True):
        axes.annotate(
            text,
            (1.0, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            ha="left",
            color=shade,
            fontsize=9,
            fontweight="bold",
            annotation_clip=False,
        )


def spread(heights: Array, gap: float) -> Array:
    """Move sorted heights apart by at least `gap`, in one sweep up and one down."""
    result = heights.copy()
    for i in range(1, len(result)):
        result[i] = max(result[i], result[i - 1] + gap)
    result[-1] = min(result[-1], 1.0)
    for i in range(len(result) - 2, -1, -1):
        result[i] = min(result[i], result[i + 1] - gap)
    return result


def add_title(figure: Figure, title: str) -> Figure:
    """Add a title at the top left, for figures in files; a report has headings."""
    figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
    return figure


def to_svg(figure: Figure) -> str:
    """Convert the figure to an <svg> element for HTML, and close it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def save(figure: Figure, path: Path) -> Path:
    """Write the figure in the format of the file's suffix and close it.

    Raises:
        MetaRLError: the suffix is not an image format.
    """
    check_suffix(path, IMAGES)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", dpi=150)
    plt.close(figure)
    return path


def check_suffix(path: Path, formats: Sequence[str]) -> None:
    """Raise MetaRLError if the suffix is not one of `formats`; called before any work begins."""
    if path.suffix.lstrip(".") not in formats:
        allowed = ", ".join("." + name for name in formats)
        raise MetaRLError(f"cannot draw to '{path}': the file's suffix chooses the format; allowed: {allowed}")


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Make an empty figure with constrained layout; returns (figure, axes)."""
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)
