"""The report of recorded runs: one HTML file that needs nothing else, figures as SVG inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from metarl_robot import __version__
from metarl_robot.cli import plot_run
from metarl_robot.cli.console import number
from metarl_robot.cli.figure import style, to_svg
from metarl_robot.cli.run_metrics import Result
from metarl_robot.cli.run_tables import TextTable, error_table, payload_table, timing_table
from metarl_robot.cli.runlog import RunLog


@dataclass(frozen=True)
class Section:
    """A heading, a table or none, a figure as an <svg> element or none, and a sentence below the figure."""

    title: str
    table: TextTable | None = None
    svg: str | None = None
    caption: str = ""


def write_report(path: Path, runs: Sequence[RunLog], results: Sequence[Result], facts: Mapping[str, str], commands: Sequence[str]) -> Path:
    """Write the report.

    Arguments:
        path: the HTML file.
        runs, results: the runs and what they came to, in the same order.
        facts: how it was made, name → value.
        commands: what to type to see more, or to do it again.
    """
    content = {
        "title": f"{runs[0].robot}: {' against '.join(run.label for run in runs)}"
        if len(runs) < 4
        else f"{runs[0].robot}: {len(runs)} runs",
        "headline": headline(runs, results),
        "sections": sections(runs, results),
        "colours": [plot_run.shade_of(runs, i) for i in range(len(runs))],
        "facts": facts,
        "commands": commands,
        "version": __version__,
    }
    template = (files("metarl_robot.cli") / "report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.from_string(template).render(content), encoding="utf-8")
    return path


def headline(runs: Sequence[RunLog], results: Sequence[Result]) -> list[str]:
    """What happened, in two sentences, with this run's numbers."""
    payload = results[0].payload
    happened = "Nothing changed during the runs."
    if runs[0].change_s:
        distance = sum(value**2 for value in payload.true_com_m) ** 0.5
        happened = (
            f"At {runs[0].change_s[0]:g} s the arm picked up a payload that no controller was told about: "
            f"{payload.true_mass_kg:.2f} kg, its centre of mass {1e3 * distance:.0f} mm from the flange."
        )
    errors = [f"{number(1e3 * result.score.rmse_after_m)} mm with {result.label}" for result in results if result.score.rmse_after_m >= 0.0]
    if not errors:
        return [happened, "The runs ended before it could be seen what came of it."]
    return [happened, f"From one to five seconds later the end effector was off by {', '.join(errors)} (root mean square)."]


def sections(runs: Sequence[RunLog], results: Sequence[Result]) -> list[Section]:
    """Tables and figures in the order in which they tell what happened."""
    error, payload, timing = (make(results) for make in (error_table, payload_table, timing_table))
    with style():
        svg = {name: _svg(draw(runs)) for name, (_, draw) in plot_run.FIGURES.items()}
    return [
        Section(error.title, error, svg["tracking"], "Distance between the end effector and its reference, on a logarithmic axis."),
        Section(
            payload.title,
            payload,
            svg["payload"],
            "No controller is told of the payload: it shows in how the arm moves under known efforts.",
        ),
        Section(timing.title, timing, svg["steps"], "Share of steps that took longer than a time: the further left, the faster."),
        Section("Joint errors", svg=svg["joints"], caption="Position minus reference; all panels have the same range."),
        Section("Efforts", svg=svg["efforts"], caption="What the motors gave, as a share of each joint's limit."),
    ]


def _svg(figure: Figure | None) -> str | None:
    return None if figure is None else to_svg(figure)
