# SPDX-License-Identifier: Apache-2.0
"""Former names of settings: still accepted for one release, with a warning that gives the new name.

A pydantic model lists them: `renamed: ClassVar[Mapping[str, str]] = {"former": "present"}`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel


def former_names(model: type[BaseModel]) -> Mapping[str, str]:
    """Former name -> present name of a model's settings."""
    names: Mapping[str, str] = getattr(model, "renamed", {})
    return names


def with_present_names(model: type[BaseModel], values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Values under the present names; of two values for one setting, that under the present name counts.

    place: file or prefix, for the warning.
    """
    present = dict(values)
    for former, name in former_names(model).items():
        if former in present:
            value = present.pop(former)
            present.setdefault(name, value)
            _warn(f"{place}: '{former}' is now named '{name}'; the former name is accepted for one release")
    return present


@cache
def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr, flush=True)
