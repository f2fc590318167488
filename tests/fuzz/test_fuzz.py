# SPDX-License-Identifier: Apache-2.0
"""The short form of the campaign `python -m tests.fuzz`: the same inputs in every run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from tests.fuzz.__main__ import one
from tests.fuzz.mutations import mutated
from tests.fuzz.parsers import PARSERS, DefectError, check

EXAMPLES = {"command line": 25, "MCAP": 25, "task file": 40, "checkpoint": 40}


@pytest.mark.slow
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_what_is_damaged_is_read_or_refused(parser: Any) -> None:
    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=EXAMPLES.get(parser.name, 100),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.randoms(use_true_random=False))
    def look(random: Random) -> None:
        with tempfile.TemporaryDirectory() as folder:
            check(parser.case(random, Path(folder)))

    look()


def test_the_same_number_is_the_same_input() -> None:
    seeds = [b"name: x\njoints: [1, 2]\n"]
    made = [[mutated(Random(number), seeds, tree=True) for number in range(200)] for _ in range(2)]
    assert made[0] == made[1] and len(set(made[0])) > 100


def test_what_a_parser_must_not_do_is_noticed(tmp_path: Path) -> None:
    class Bad:
        name = "bad"

        @staticmethod
        def case(random: Random, folder: Path) -> Any:
            return [].pop

    found = one(Bad, 0, 7, tmp_path)
    assert found["inputs"] == 1 and found["defects"][0]["input"] == 7 and "IndexError" in found["defects"][0]["error"]
    with pytest.raises(DefectError):
        check(lambda: _refuse_at_length())


def _refuse_at_length() -> None:
    from metarl_robot.core.errors import SignalError

    raise SignalError("x" * 100_000)
