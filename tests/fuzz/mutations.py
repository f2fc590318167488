# SPDX-License-Identifier: Apache-2.0
"""Mutations of valid inputs: of bytes, of tokens and lines, of the tree that a YAML or JSON text stands for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

import yaml

NUMBERS = (
    "0",
    "-1",
    "-0.0",
    "1e308",
    "1.0e+308",
    "-1e-320",
    "1e-12",
    "nan",
    ".nan",
    "inf",
    "-.inf",
    "9" * 400,
    "9" * 5000,
    "0x" + "f" * 300,
    "2147483648",
    "9223372036854775808",
    "1:1:1:1",
    "²",
    "٣",
    "0b1",
    "1_000",
    "3.",
    "!!int x",
    "!!float 1e400",
    "2026-99-99",
    "0777",
)
TEXTS = (
    "",
    " ",
    "null",
    "~",
    "true",
    "yes",
    "x",
    "../../outside",
    "/etc/passwd",
    "a,b",
    "a b",
    "name",
    "x" * 300,
    "[bold]x[/]",
    "[/x]",
    "\u202ex",
    "é",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "\x7f",
    "\\0",
    "%s%n",
    "$(var x)",
    "$(env HOME)",
    "$(",
    "$(not $(not 1))",
    "'",
    '"',
    "''",
    "`",
    "<x/>",
    "&amp;",
    "<!--",
    "panda",
    "x500",
    "arm",
    "quadrotor",
    "meta_mpc",
)
SYNTAX = (
    "[",
    "]",
    "{",
    "}",
    ":",
    ": ",
    ",",
    "- ",
    "#",
    "|",
    ">",
    "&a ",
    "*a",
    "!!python/object:x ",
    "!x ",
    "<<: *a",
    "---\n",
    "...\n",
    "\t",
    "\n",
    "%",
    "@",
    "? ",
    "<",
    ">",
    "/>",
    "</",
    "=",
    "\\",
    "\x00",
    "\ufeff",
    "\x85",
    "[" * 60,
    "{a: " * 60,
    "<body>" * 120,
    "&#0;",
    "&#x110000;",
    "]]>",
)
_TOKEN = re.compile(rb"[A-Za-z_][\w.-]*|-?[0-9][\w.+-]*|\s+|.", re.DOTALL)

Mutation = Callable[[Random, bytes], bytes]


def mutated(random: Random, seeds: list[bytes], tree: bool) -> bytes:
    """A valid input with one to six changes."""
    raw = random.choice(seeds)
    if tree and random.random() < 0.4:
        raw = _tree(random, raw)
    if random.random() < 0.05:
        raw = _splice(random, raw, random.choice(seeds))
    for _ in range(random.choice((0, 1, 1, 1, 2, 3, 6))):
        raw = random.choice(_MUTATIONS)(random, raw)
    return raw[: 2 << 20]


def word(random: Random) -> str:
    """Something that is seldom meant."""
    return random.choice(random.choice((NUMBERS, TEXTS, SYNTAX)))


def _place(random: Random, raw: bytes) -> int:
    return random.randrange(len(raw) + 1)


def _flip(random: Random, raw: bytes) -> bytes:
    if not raw:
        return raw
    i = random.randrange(len(raw))
    return raw[:i] + bytes([raw[i] ^ (1 << random.randrange(8))]) + raw[i + 1 :]


def _insert(random: Random, raw: bytes) -> bytes:
    i = _place(random, raw)
    return raw[:i] + word(random).encode("utf-8", "surrogatepass") + raw[i:]


def _cut(random: Random, raw: bytes) -> bytes:
    i = _place(random, raw)
    return raw[:i] + raw[i + random.choice((1, 2, 8, 64, 1024)) :]


def _truncate(random: Random, raw: bytes) -> bytes:
    return raw[: _place(random, raw)]


def _repeat(random: Random, raw: bytes) -> bytes:
    i = _place(random, raw)
    part = raw[i : i + random.choice((1, 4, 30, 300))]
    return raw[:i] + part * random.choice((2, 3, 50)) + raw[i:]


def _noise(random: Random, raw: bytes) -> bytes:
    i = _place(random, raw)
    return raw[:i] + random.randbytes(random.choice((1, 4, 32))) + raw[i:]


def _big_number(random: Random, raw: bytes) -> bytes:
    """A length or count in a binary file."""
    i = _place(random, raw)
    value = random.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 10**9))
    size = random.choice((4, 8))
    return raw[:i] + (value % 2 ** (8 * size)).to_bytes(size, "little") + raw[i + size :]


def _token(random: Random, raw: bytes) -> bytes:
    found = list(_TOKEN.finditer(raw[:200_000]))
    solid = [match for match in found if not match[0].isspace()] or found
    if not solid:
        return raw
    match = random.choice(solid)
    return raw[: match.start()] + word(random).encode("utf-8", "surrogatepass") + raw[match.end() :]


def _swap_tokens(random: Random, raw: bytes) -> bytes:
    found = [match for match in _TOKEN.finditer(raw[:200_000]) if match[0].isalnum()]
    if len(found) < 2:
        return raw
    first, second = sorted(random.sample(found, 2), key=lambda match: match.start())
    return raw[: first.start()] + second[0] + raw[first.end() : second.start()] + first[0] + raw[second.end() :]


def _lines(random: Random, raw: bytes) -> bytes:
    lines = raw.split(b"\n")
    i, j = random.randrange(len(lines)), random.randrange(len(lines))
    action = random.randrange(4)
    if action == 0:
        del lines[i]
    elif action == 1:
        lines.insert(j, lines[i])
    elif action == 2:
        lines[i], lines[j] = lines[j], lines[i]
    else:
        lines[i] = b" " * random.randrange(4) + lines[i]
    return b"\n".join(lines)


def _splice(random: Random, raw: bytes, other: bytes) -> bytes:
    return raw[: _place(random, raw)] + other[_place(random, other) :]


_MUTATIONS: tuple[Mutation, ...] = (
    _flip,
    _insert,
    _cut,
    _truncate,
    _repeat,
    _noise,
    _big_number,
    _token,
    _token,
    _token,
    _token,
    _swap_tokens,
    _lines,
    _lines,
)


def _tree(random: Random, raw: bytes) -> bytes:
    """One value of the tree is another; the tree is written as JSON, which is YAML."""
    try:
        content = yaml.load(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return json.dumps(changed(random, content), default=str).encode()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return raw


def changed(random: Random, value: Any) -> Any:
    """A tree of plain data in which one value is another, is gone or is there twice."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        if random.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if random.random() < 0.1:
            return {**value, word(random): value[key]}
        return {**value, key: changed(random, value[key])}
    if isinstance(value, list) and value and random.random() < 0.9:
        i = random.randrange(len(value))
        if random.random() < 0.15:
            return value[:i] + value[i + 1 :]
        if random.random() < 0.15:
            return value + [value[i]] * random.choice((1, 100))
        return [*value[:i], changed(random, value[i]), *value[i + 1 :]]
    return plain(random, value)


def plain(random: Random, value: Any = None) -> Any:
    """Another value: of another type, size or sign."""
    return random.choice(
        (
            None,
            True,
            False,
            0,
            -1,
            1,
            2**31,
            2**63,
            10**400,
            -1.0,
            1e308,
            1e-320,
            float("nan"),
            float("inf"),
            [],
            {},
            [[]],
            [1],
            {"a": 1},
            [value],
            {"x": value},
            word(random),
            "x" * 5000,
            str(value),
            [value] * 70,
        )
    )
