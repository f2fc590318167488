# SPDX-License-Identifier: Apache-2.0
"""Labelled tables: read as written; contradictions are refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from metarl_robot.core.errors import SignalError
from metarl_robot.core.tables import Table, table_of


def as_message(first: str, second: str, data: object) -> SimpleNamespace:
    """The fields of a Float64MultiArray that are read."""
    return SimpleNamespace(
        layout=SimpleNamespace(dim=[SimpleNamespace(label=first), SimpleNamespace(label=second)]), data=data
    )


def test_a_table_survives_the_way() -> None:
    rng = np.random.default_rng(0)
    for stamp_ns in (0, 1, 12_345_000_000, 1_795_363_062_682_735_987):
        sent = Table(stamp_ns, ("mean", "std"), ("a", "b", "c"), rng.normal(size=(2, 3)))
        got = table_of(as_message(*sent.labels, sent.values.ravel()))
        assert (got.stamp_ns, got.rows, got.columns) == (sent.stamp_ns, sent.rows, sent.columns)
        assert np.array_equal(got.values, sent.values)
    assert got.value("b", "std") == got.row("std")[1] and got.value("a") == got.values[0, 0]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (as_message("1.000000000 mean,std", "a,b", [1.0, 2.0, 3.0]), "3 numbers"),
        (as_message("1.0 mean", "a", [1.0]), "9 digits"),
        (as_message("mean", "a", [1.0]), "9 digits"),
        (as_message("²1.000000000 mean", "a", [1.0]), "9 digits"),
        (as_message("1.00000000² mean", "a", [1.0]), "9 digits"),
        (as_message("٣.000000000 mean", "a", [1.0]), "9 digits"),
        (as_message("-1.000000000 mean", "a", [1.0]), "9 digits"),
        (as_message("9223372037.000000000 mean", "a", [1.0]), "9 digits"),
        (as_message("9" * 400 + ".000000000 mean", "a", [1.0]), "9 digits"),
        (as_message("9" * 5000 + ".000000000 mean", "a", [1.0]), "9 digits"),
        (as_message("1.000000000 mean", "," * 30_000, [1.0]), "20000 characters"),
        (as_message("1.000000000 mean", "a", [1.0] * 200_000), "100000 numbers"),
        (SimpleNamespace(layout=SimpleNamespace(dim=[]), data=[1.0]), "two labelled dimensions"),
    ],
)
def test_contradictions_are_refused(message: SimpleNamespace, why: str) -> None:
    with pytest.raises(SignalError, match=why) as caught:
        table_of(message)
    assert len(str(caught.value)) < 400


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    table = Table(0, ("mean",), ("a", "b"), np.zeros((1, 2)))
    with pytest.raises(SignalError, match="a, b"):
        table.value("c")
    with pytest.raises(SignalError, match="mean"):
        table.row("std")
