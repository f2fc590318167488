# SPDX-License-Identifier: Apache-2.0
"""Numbers, names and JSON as the command prints them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.cli.console import number, parse_names, write_json
from metarl_robot.core.errors import MetaRLError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (1.0, "1.00"),
        (12.345, "12.3"),
        (1234.5, "1234"),
        (0.0, "0.00"),
        (-0.5, "-0.500"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_numbers_have_three_significant_digits_and_no_exponent(value: float | None, text: str) -> None:
    assert number(value) == text


def test_names_are_split_stripped_and_unique() -> None:
    assert parse_names("pid, meta_mpc,,pid") == ("pid", "meta_mpc")
    with pytest.raises(MetaRLError):
        parse_names(" , ")


def test_json_has_no_nan_and_no_numpy(tmp_path: Path) -> None:
    target = tmp_path / "new" / "result.json"
    write_json({"a": np.float64(1.5), "b": np.arange(3), "c": float("nan"), "d": (tmp_path,)}, target)
    content = json.loads(target.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content == {"a": 1.5, "b": [0, 1, 2], "c": None, "d": [str(tmp_path)]}
