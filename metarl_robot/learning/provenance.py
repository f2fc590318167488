# SPDX-License-Identifier: Apache-2.0
"""How trained weights came to be, for their records."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

from pydantic import BaseModel


def recorded_command(words: str, config: BaseModel) -> str:
    """The command line that repeats a run. words: command and arguments, without options."""
    options = [
        f"--{name.replace('_', '-')} {','.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in config.model_dump(exclude_defaults=True).items()
    ]
    return " ".join([words, *options])


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """Versions of these libraries and of Python."""
    return {**{name: version(name) for name in libraries}, "python": platform.python_version()}
