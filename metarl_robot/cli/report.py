# SPDX-License-Identifier: Apache-2.0
"""Report of recorded runs: one self-contained HTML file with SVG figures."""

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
from metarl_robot.cli.run_tables import TextTable, error_table, report_tables, timing_table
from metarl_robot.cli.runlog import RunLog
from metarl_robot.core.robot import load_robot


@dataclass(frozen=True)
class Section:
    """A heading, an optional table, an optional figure as an <svg> element, and the figure's caption."""

    title: str
    table: TextTable | None = None
    svg: str | None = None
    caption: str = ""


def write_report(
    path: Path, runs: Sequence[RunLog], results: Sequence[Result], facts: Mapping[str, str], commands: Sequence[str]
) -> Path:
    """Write the report.

    Arguments:
        path: the HTML file.
        runs, results: the runs and their results, in the same order.
        facts: how the runs were made, name → value.
        commands: commands that show more, or repeat the runs.
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
    """Summary of the runs in a few sentences, with their numbers."""
    words, happened = load_robot(runs[0].robot).wording, ["Nothing changed during the runs."]
    if runs[0].events:
        event, true_values = runs[0].events[0], _true_values(results[0])
        happened = [f"At {event.time_s:g} s: {event.what}{true_values}. This is unknown to the controllers."]
    errors = _errors([(result, result.score.rmse_after_m) for result in results])
    if not errors:
        return [*happened, "The runs ended before the effect of the change could be measured."]
    happened.append(f"From one to five seconds later the {words.tracked} was off by {errors} (root mean square).")
    for k, stage in enumerate(results[0].stages):
        later = _errors([(result, result.stages[k].rmse_after_m) for result in results])
        when = f"At {stage.event.time_s:.3g} s: {stage.event.what}"
        happened += [f"{when}. From then on it was off by {later}."] if later else []
    return happened


def _true_values(result: Result) -> str:
    """List the true values of the scored quantities as ' (mass 0.80 kg)'."""
    values = [
        f"{quantity.title} {value:.{2 if value >= 0.1 else 4}f} {quantity.unit}"
        for each in result.reports
        for quantity, value in zip(each.report.quantities, each.truth.tolist(), strict=True)
        if quantity.scored
    ]
    return f" ({', '.join(values)})" if values else ""


def _errors(pairs: Sequence[tuple[Result, float]]) -> str:
    """List errors as '1.2 mm with a, 3 mm with b', without unknown ones."""
    return ", ".join(f"{number(1e3 * error)} mm with {result.label}" for result, error in pairs if error >= 0.0)


def sections(runs: Sequence[RunLog], results: Sequence[Result]) -> list[Section]:
    """Tables and figures, in the order of the report."""
    robot = load_robot(runs[0].robot)
    words = robot.wording
    with style():
        svg = {name: _svg(draw(runs)) for name, (_, draw) in plot_run.figures(robot).items()}
    error, timing = error_table(results, words), timing_table(results)
    tracking = f"Distance between the {words.tracked} and its reference, on a logarithmic axis."
    estimated = (
        "These values are unknown to the controllers. An adaptive one estimates them from the motion of the "
        f"{words.body} under known {words.effort}s."
    )
    steps = "Share of steps that took longer than a given time; curves further left are faster."
    shares = f"Motor output as a share of each {words.channel}'s limit."
    found = [
        Section(error.title, error, svg["tracking"], tracking),
        *(Section(each.title, each, svg[name], estimated) for name, each in report_tables(results).items()),
        Section(timing.title, timing, svg["steps"], steps),
        Section(f"{words.effort.capitalize()}s", svg=svg["efforts"], caption=shares),
    ]
    if "angles" in svg:
        angles = f"{words.angles.capitalize()} errors"
        found.insert(-1, Section(angles, svg=svg["angles"], caption="All panels have the same range."))
    if svg["external"] is not None:
        felt = "Forces beyond the controller's model. Undecided: it may also be a payload, which motion shows."
        found.append(Section("External force", svg=svg["external"], caption=felt))
    return found


def _svg(figure: Figure | None) -> str | None:
    return None if figure is None else to_svg(figure)
