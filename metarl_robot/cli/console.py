# SPDX-License-Identifier: Apache-2.0
"""Console output.

Results go to stdout; JSON is alone there. Progress, hints and errors go to stderr.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metarl_robot.core.errors import MetaRLError

NOTHING = "–"
_PIPE_WIDTH = 160


def out() -> Console:
    """Standard output; its width is fixed when it is a pipe, so that tables are not folded."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def err() -> Console:
    """Standard error, for progress, hints and errors."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PIPE_WIDTH)


def forgive_encodings() -> None:
    """Print a question mark for each character that the terminal cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def note(text: str, label: str = "", style: str = "yellow") -> None:
    """Print text on standard error without markup, because paths and names may contain rich's markup characters."""
    console = err()
    if label:
        console.print(f"{label}:", style=style, end=" ")
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def plain_json(value: Any) -> Any:
    """Convert `value` to JSON types.

    Numpy arrays become lists and numbers, paths become strings, NaN and infinity become null.
    """
    if isinstance(value, dict):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain_json(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def write_json(value: Any, target: str | Path = "-") -> None:
    """Write `value` to a file, or to standard output when `target` is '-'."""
    text = json.dumps(plain_json(value), indent=2, allow_nan=False) + "\n"
    if str(target) == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def table(title: str, columns: Sequence[str], *, caption: str = "") -> Table:
    """Make an empty table with the first column left-aligned and the others right-aligned.

    The title and the caption are plain text; cells may contain markup.
    """
    heading, note = Text(title, style="bold"), Text(caption, style="dim") if caption else None
    result = Table(title=heading, caption=note, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD)
    for i, name in enumerate(columns):
        result.add_column(Text(name), justify="left" if i == 0 else "right", overflow="fold")
    return result


def number(value: float | None, digits: int = 3) -> str:
    """Format a value with `digits` significant digits and without an exponent; a dash stands for no value."""
    if value is None or not np.isfinite(value):
        return NOTHING
    decimals = digits - 1 if value == 0.0 else max(digits - 1 - int(np.floor(np.log10(abs(value)))), 0)
    return f"{value:.{min(decimals, 6)}f}"


def examples(*pairs: tuple[str, str], note: str = "") -> str:
    """Format the end of a command's help: example commands, an explanation below each, and a note."""
    lines = [f"[bold]{command}[/]\n    [dim]{explanation}[/]" for command, explanation in pairs]
    return "\n\n".join(["Examples", *lines, *([note] if note else [])])


def parse_names(text: str) -> tuple[str, ...]:
    """Split `a,b, c` into ('a', 'b', 'c'), without duplicates, in order.

    Raises:
        MetaRLError: the text contains no name.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise MetaRLError(f"expected names separated by commas; given: '{text}'")
    return names
