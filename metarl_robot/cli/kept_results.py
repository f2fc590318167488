# SPDX-License-Identifier: Apache-2.0
"""Results of runs, one JSON line each, appended when the run ends, so that Ctrl-C loses no finished run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarl_robot.cli.console import plain_json
from metarl_robot.core.errors import MetaRLError

_LONG = "long"


class Results:
    """Folder with files `<where>_<robot>.jsonl`.

    resume: keep existing results; otherwise the first new run replaces the file.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        self._folder, self._resume = folder, resume
        self._opened: set[Path] = set()
        self._rows = [row for path in sorted(folder.glob("*.jsonl")) for row in _read(path)]
        self._known = {_key(row) for row in self._rows}

    def has(self, robot: str, where: str, kind: str, seed: int) -> bool:
        """Whether the result of a run exists and is kept."""
        return self._resume and (robot, where, kind, seed) in self._known

    def rows(self, robots: Sequence[str] | None = None, where: str | None = None) -> list[dict[str, Any]]:
        """All runs but the long ones; robots, where: only these (None: all)."""
        wanted = [row for row in self._rows if row["where"] != _LONG]
        here = [row for row in wanted if where is None or row["where"] == where]
        return [row for row in here if robots is None or row["robot"] in robots]

    def long_rows(self) -> list[dict[str, Any]]:
        """All long runs."""
        return [row for row in self._rows if row["where"] == _LONG]

    def add_long(self, row: dict[str, Any]) -> None:
        """Store a long run."""
        self.add({**row, "where": _LONG, "kind": _LONG, "seed": 0})

    def add(self, row: dict[str, Any]) -> None:
        """Store a run; its line is on disk when this returns."""
        plain = plain_json(row)
        path = self._folder / f"{row['where']}_{row['robot']}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self._resume and path not in self._opened:
            path.unlink(missing_ok=True)
            gone = (row["robot"], row["where"])
            self._rows = [old for old in self._rows if (old["robot"], old["where"]) != gone]
        if path not in self._opened:
            _complete(path)
        self._opened.add(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain, allow_nan=False) + "\n")
        self._rows = [old for old in self._rows if _key(old) != _key(plain)] + [plain]
        self._known.add(_key(plain))


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["robot"], row["where"], row["kind"], row["seed"]


def _complete(path: Path) -> None:
    """Remove an incomplete last line."""
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")


def _read(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a file without an incomplete last one. Raises MetaRLError."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
            _key(rows[-1])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                return rows[: number - 1]
            raise MetaRLError(
                f"{path}: line {number} is not a result of this command; remove the file, "
                "or name another folder with --out"
            ) from error
    return rows
