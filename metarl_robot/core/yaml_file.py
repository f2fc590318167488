# SPDX-License-Identifier: Apache-2.0
"""Reads untrusted YAML and JSON within bounds; refuses other content with its line.

The file is first read as a stream of events, so that the bounds on size, depth and number of values hold before
anything is built. An alias counts as its whole expansion: a few lines that expand to millions of values are refused.
Keys are unique texts. A date is text. A number has at most 64 bits, or the range of a double. Only the tags of plain
data are allowed, so a file cannot name a Python object.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from metarl_robot.core.errors import MetaRLError, shortened, shown

MOST_BYTES = 1 << 20
MOST_VALUES = 50_000
MOST_DEPTH = 40
_LONGEST_NUMBER = 400  # characters of the longest double, written out
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
_FAST = hasattr(yaml, "CSafeLoader")
_Base: Any = yaml.CSafeLoader if _FAST else yaml.SafeLoader

MakeError = Callable[[str], MetaRLError]


def read_yaml(path: Path, error: MakeError = MetaRLError) -> Any:
    """Read a YAML or JSON file.

    Raises:
        error: the file cannot be read, is not YAML or exceeds a bound; the message names file and line.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as problem:
        raise error(f"{shortened(str(path))}: cannot be read: {_reason(problem)}") from problem
    if len(raw) > MOST_BYTES:
        raise error(f"{path}: is larger than the {MOST_BYTES} bytes that are allowed")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not text in UTF-8: byte {problem.start} cannot be read; save it as UTF-8") from problem
    return parse_yaml(text, str(path), error)


def parse_yaml(text: str, source: str, error: MakeError = MetaRLError) -> Any:
    """Parse a YAML text; source names its file in messages. Raises `error`."""
    if len(text) > MOST_BYTES:
        raise error(f"{source}: is longer than the {MOST_BYTES} characters that are allowed")
    try:
        _check_events(text)
        return _load(text)
    except yaml.YAMLError as problem:
        raise error(f"{source}: not valid YAML: {_problem(problem)}") from problem
    except RecursionError as problem:
        raise error(f"{source}: not valid YAML: nested too deeply") from problem


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML beyond the bounds."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _check_events(text: str) -> None:
    """Check tags and bounds without building anything; an alias counts as its expansion."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.AliasEvent):
            count += _size_of(event, sizes)
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            _check_tag(event)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, begin = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = count - begin + 1
        elif isinstance(event, yaml.ScalarEvent) and event.anchor is not None:
            sizes[event.anchor] = 1
        if len(open_nodes) > MOST_DEPTH:
            raise _Refused(f"is nested more than {MOST_DEPTH} deep", event.start_mark)
        if count > MOST_VALUES:
            raise _Refused(f"stands for more than {MOST_VALUES} values", event.start_mark)


def _size_of(event: yaml.AliasEvent, sizes: dict[str, int]) -> int:
    if event.anchor not in sizes:
        raise _Refused(
            f"alias '{shortened(str(event.anchor), 60)}' has no anchor before it, or stands within it",
            event.start_mark,
        )
    return sizes[event.anchor]


def _check_tag(event: Any) -> None:
    if event.tag is not None and event.tag != "!" and event.tag not in _PLAIN_TAGS:
        raise _Refused(f"tag '{shortened(event.tag, 60)}' is not one of plain data", event.start_mark)


class _Loader(_Base):
    """Loads plain data: texts, numbers, booleans, lists and mappings with unique texts as keys."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as problem:
            raise _Refused(
                f"{shown(node.value, 60)} is not of the type that it is tagged with",
                node.start_mark,
            ) from problem

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check keys before `<<` merges other mappings; a mapping may override merged keys."""
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None or key.tag not in (_STR, _MERGE):
                raise _Refused(
                    f"key {shown(name if name is not None else 'a list or mapping', 60)} is not text; quote it",
                    key.start_mark,
                )
            if name in seen:
                raise _Refused(f"key '{shortened(name, 60)}' is given twice", key.start_mark)
            seen.add(name)
        super().flatten_mapping(node)

    def construct_number(self, node: Any) -> Any:
        if len(node.value) > _LONGEST_NUMBER:
            raise _Refused(f"a number of {len(node.value)} characters", node.start_mark)
        if node.tag.endswith("float"):
            return _finite_or_said(self.construct_yaml_float(node), node)
        value = self.construct_yaml_int(node)
        if not -(2**63) <= value < 2**63:
            raise _Refused(f"{shortened(node.value, 60)} has more than 64 bits", node.start_mark)
        return value


def _finite_or_said(value: float, node: Any) -> float:
    """Allow infinity only where the file says `.inf`; 1e999 is refused."""
    if math.isinf(value) and "inf" not in node.value.lower():
        raise _Refused(f"{shortened(node.value, 60)} is beyond the range of numbers", node.start_mark)
    return value


_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
for _tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.construct_number)
_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN_TAGS]
    for letter, resolvers in _Base.yaml_implicit_resolvers.items()
}


def _problem(error: yaml.YAMLError) -> str:
    """Line and description of an error, on one line."""
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    parts = [part for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part]
    said = ", ".join(parts) or str(error)
    return f"{place}{shortened(' '.join(said.split()))}"


def _reason(problem: OSError | ValueError) -> str:
    return (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
