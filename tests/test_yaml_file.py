# SPDX-License-Identifier: Apache-2.0
"""YAML from users: values beyond a bound are refused with their line, in a short message for any input."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from metarl_robot.core.errors import RobotError
from metarl_robot.core.yaml_file import MOST_BYTES, MOST_DEPTH, MOST_VALUES, parse_yaml, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, f"line 5.*stands for more than {MOST_VALUES} values"),
        ("a: &a [1, *a]", "alias 'a' has no anchor before it, or stands within it"),
        ("a: &a {x: &b 1}\n" + "b: {<<: [" + ", ".join(["*a"] * 20_000) + "]}", "stands for more than"),
        ("a: " + "[" * 100_000, f"nested more than {MOST_DEPTH} deep"),
        ("a: " + "{b: " * 100_000, f"nested more than {MOST_DEPTH} deep"),
        ("- " * 100_000 + "x", f"nested more than {MOST_DEPTH} deep"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: key 'a' is given twice"),
        ("a: {x: 1, y: 2, x: 3}", "key 'x' is given twice"),
        ("1: a", "key '1' is not text; quote it"),
        ("yes: a", "key 'yes' is not text"),
        ("[a]: b", "not text"),
        ("a: " + "9" * 5000, "a number of 5000 characters"),
        ("a: " + "9" * 100, "more than 64 bits"),
        ("a: 0x" + "f" * 300, "more than 64 bits"),
        ("a: " + "1:" * 150 + "1", "more than 64 bits"),
        ("a: 1.0e+999", "beyond the range"),
        ("a: !!int x", "'x' is not of the type that it is tagged with"),
        ("a: !!float x", "tagged with"),
        ("a: !!bool x", "tagged with"),
        ("a: !!binary x", "tag 'tag:yaml.org,2002:binary' is not one of plain data"),
        ("a: !!python/object/apply:os.system [ls]", "is not one of plain data"),
        ("a: !" + "x" * 10_000 + " 1", "is not one of plain data"),
        ("a: !!timestamp x", "is not one of plain data"),
        ("a: 'open", "line 1"),
        ("a: [1", "line [12]"),
        ("a:\n\t- b", "line 2"),
        ("a: \0", "not valid YAML"),
        ("a: 1\n---\nb: 2", "single document"),
        ("x" * (MOST_BYTES + 1), "longer than"),
    ],
)
def test_what_is_beyond_a_bound_is_refused_with_its_line(text: str, why: str) -> None:
    with pytest.raises(RobotError, match=why) as caught:
        parse_yaml(text, "robot.yaml", RobotError)
    said = str(caught.value)
    assert said.startswith("robot.yaml: ") and len(said) < 500 and "\n" not in said


@pytest.mark.parametrize("raw", ["a: 1".encode("utf-16"), b"a: \xff", b"x" * (MOST_BYTES + 1)])
def test_bytes_that_are_not_utf_8_or_too_many_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(raw)
    with pytest.raises(RobotError, match="a.yaml: is (not text in UTF-8|larger than)"):
        read_yaml(tmp_path / "a.yaml", RobotError)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", Path("x" * 5000), Path("a\0b")):
        with pytest.raises(RobotError, match="cannot be read") as caught:
            read_yaml(path, RobotError)
        assert len(str(caught.value)) < 500


def test_plain_data_are_read_as_before(tmp_path: Path) -> None:
    lines = (
        b"\xef\xbb\xbfa: 1",
        b"b: [1.5e-3, .inf, 'x', true, null, 2026-01-31]",
        b"base: &b {x: 1}",
        b"c: {<<: *b, y: 2}",
        b"d: *b\n",
    )
    (tmp_path / "a.yaml").write_bytes(b"\n".join(lines))
    content = read_yaml(tmp_path / "a.yaml")
    assert content == {
        "a": 1, "b": [1.5e-3, math.inf, "x", True, None, "2026-01-31"], "base": {"x": 1}, "c": {"x": 1, "y": 2},
        "d": {"x": 1},
    }  # fmt: skip
    assert parse_yaml('{"a": [1, 2.0, {"b": null}]}', "") == {"a": [1, 2.0, {"b": None}]} and parse_yaml("", "") is None
