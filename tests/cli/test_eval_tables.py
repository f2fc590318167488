# SPDX-License-Identifier: Apache-2.0
"""Tables of an evaluation: the worst run beside the median, and runs in which adaptation was worse than its rivals."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from metarl_robot.cli.app import app
from metarl_robot.cli.eval_tables import episode_table, worse_than_rivals


@pytest.mark.parametrize(
    ("meta", "offset_free", "oracle", "ratio"),
    [
        (0.9, 1.0, 0.5, None),
        (1.04, 1.0, 0.5, None),
        (1.2, 1.0, 0.5, 1.2),
        (1.2, 0.5, 1.3, None),
        (0.049, 0.01, 0.01, None),
        (0.06, 0.01, 0.01, 6.0),
    ],
    ids=["better", "within 5 %", "worse", "better than the oracle", "below the least that counts", "above it"],
)
def test_worse_than_rivals(meta: float, offset_free: float, oracle: float, ratio: float | None) -> None:
    errors = {"meta_mpc": 1e-3 * meta, "offset_free_mpc": 1e-3 * offset_free, "oracle_mpc": 1e-3 * oracle}
    found = worse_than_rivals(errors)
    assert found is None if ratio is None else found == pytest.approx(ratio)
    assert worse_than_rivals({"meta_mpc": 1.0}) is None


def test_every_run_has_a_line() -> None:
    rows = [
        {"controller": name, "scenario": "pickup", "seed": seed, "rmse_after_m": error * (seed + 1)}
        for seed in range(2)
        for name, error in (("offset_free_mpc", 1e-3), ("meta_mpc", 2e-3))
    ]
    console = Console(width=120, record=True, file=StringIO())
    console.print(episode_table({"episodes": rows}))
    lines = [line.split() for line in console.export_text().splitlines() if "pickup" in line]
    assert lines == [["pickup", "0", "1.00", "2.00", "2.00"], ["pickup", "1", "2.00", "4.00", "2.00"]]


def test_seeds_for_tuning_and_the_worst_run() -> None:
    arguments = "planar2 --suite nominal --controllers computed_torque --seeds 1 --first-seed 1000 --jobs 1 --episodes"
    result = CliRunner().invoke(app, ["eval", *arguments.split()])
    assert result.exit_code == 0, result.output
    assert "1000" in result.output and "worst" in result.output
