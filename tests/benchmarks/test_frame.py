# SPDX-License-Identifier: Apache-2.0
"""Parts that all benchmarks share: rows, turns, fits, tables and the document."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from metarl_robot.benchmarks import catalogue, machine
from metarl_robot.benchmarks.record import Benchmark, Curve, SameAnswer, against, alone, missing
from metarl_robot.benchmarks.timing import interleaved
from metarl_robot.cli.app import app
from metarl_robot.cli.progress import _Lines

SCHEMA = {"case", "ours_us_median", "ours_us_p99", "peer", "peer_us_median", "peer_us_p99", "ratio", "same_answer"}


def tiny(report: catalogue.Report, quick: bool) -> Benchmark:
    """A benchmark of known numbers."""
    report("tiny", 1, 1)
    same = SameAnswer("sum", 3.0, 3.0)
    rows = (
        against("both", [1e-6, 2e-6, 3e-6], "slow", [8e-6, 10e-6, 12e-6], same, details={"quick": float(quick)}),
        missing("one", [1e-6], "absent", "not installed: pip install absent"),
        alone("alone", [5e-6]),
    )
    return Benchmark(
        "tiny", rows, ("A remark.",), (Curve("time against size", "square", "size", (1, 2, 4), (3.0, 12.0, 48.0)),)
    )


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "BENCHMARKS", {"tiny": "known numbers"})
    monkeypatch.setattr(catalogue, "runner", lambda name: tiny)


def test_ratio_is_peer_over_ours() -> None:
    row = tiny(lambda *a, **k: None, False).rows[0]
    assert (row.ours_us_median, row.peer_us_median, row.ratio) == pytest.approx((2.0, 10.0, 5.0))


def test_json_has_the_agreed_keys(known: None, tmp_path: Path) -> None:
    path = tmp_path / "tiny.json"
    assert CliRunner().invoke(app, ["bench", "tiny", "--quick", "--json", str(path)]).exit_code == 0
    record: dict[str, Any] = json.loads(path.read_text())
    assert record["name"] == "tiny" and record["machine"] and record["versions"]["numpy"] == np.__version__
    assert all(set(row) >= SCHEMA for row in record["rows"])
    assert record["rows"][0]["same_answer"] == {"metric": "sum", "ours": 3.0, "peer": 3.0} and record["rows"][0][
        "details"
    ] == {"quick": 1.0}
    assert record["rows"][1]["ratio"] is None and "pip install" in record["rows"][1]["note"]
    assert record["curves"][0]["exponent"] == pytest.approx(2.0)


def test_document_holds_rows_remarks_fits_and_plots(known: None, tmp_path: Path) -> None:
    path = tmp_path / "BENCHMARKS.md"
    assert CliRunner().invoke(app, ["bench", "all", "--write", str(path)]).exit_code == 0
    text = path.read_text()
    assert machine.machine() in text and "`metarl bench tiny`" in text and "5.00 ×" in text
    assert "not installed: pip install absent" in text and "A remark." in text and "size^2.00" in text
    (figure,) = tmp_path.glob("*.svg")
    assert f"({figure.name})" in text


def test_contestants_take_turns_on_the_same_problems() -> None:
    seen: list[tuple[str, int]] = []
    prepared: list[int] = []
    calls = {name: lambda i, name=name: seen.append((name, i)) for name in ("a", "b")}
    times = interleaved(calls, problems=3, repetitions=2, warm_up=1, prepare={"a": prepared.append})
    once = [("a", 0), ("a", 1), ("a", 2)], [("b", 0), ("b", 1), ("b", 2)]
    assert seen == [("a", 0), ("b", 0), *once[0], *once[1], *once[1], *once[0]]
    assert prepared == [0, 0, 1, 2, 0, 1, 2] and {x.shape for x in times.values()} == {(6,)}


def test_a_quick_contestant_can_have_a_turn_before_each_slow_one() -> None:
    seen: list[str] = []
    calls = {name: lambda i, name=name: seen.append(name) for name in "abc"}
    times = interleaved(calls, problems=1, repetitions=2, warm_up=0, often="a")
    assert seen == ["a", "b", "a", "c", "a", "b", "a", "c"]
    assert {name: len(values) for name, values in times.items()} == {"a": 4, "b": 2, "c": 2}


def test_an_unknown_benchmark_is_named_with_those_there_are() -> None:
    result = CliRunner().invoke(app, ["bench", "speed"])
    assert result.exit_code == 2 and "mpc" in result.stderr


def test_every_benchmark_can_be_imported() -> None:
    assert all(callable(catalogue.runner(name)) for name in catalogue.BENCHMARKS)


def test_a_peer_that_is_compiled_is_named_before_it_is_done() -> None:
    """Also where nobody looks at a terminal, and within the ten seconds between two lines of one phase."""
    file = StringIO()
    report = _Lines(Console(file=file, width=80))
    for peer in ("CasADi SQP", "acados"):
        report("mpc", 0, 6, "arm")
        report(f"build {peer}", 0, 6, "arm; the first time takes up to a minute")
    lines = file.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["mpc", "build CasADi SQP", "mpc", "build acados"]
