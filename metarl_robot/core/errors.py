# SPDX-License-Identifier: Apache-2.0
"""The project's exceptions, with one base class so that a caller can catch all of them.

A message is one paragraph: the fault, the given value and the allowed values. `shown` keeps it short for any value.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, ClassVar

SHOWN_CHARACTERS = 200
_MOST_NAMES = 60


class MetaRLError(Exception):
    """Base of every error that this project raises on purpose.

    bad_input: True if the caller's input is wrong; False if a started task failed.
    """

    bad_input: ClassVar[bool] = True

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors reach other processes by their message, also those that are made from other arguments."""
        return _remade, (type(self), self.args)


def _remade(kind: type[MetaRLError], args: tuple[Any, ...]) -> MetaRLError:
    error = kind.__new__(kind)
    error.args = args
    return error


class RobotError(MetaRLError):
    """A robot description is missing, malformed or contradicts its MJCF."""


class SignalError(MetaRLError):
    """A state, reference or command has the wrong size, names or values."""


class CheckpointError(MetaRLError):
    """Trained weights are missing, damaged, of another robot or of a refused format."""


class MissingPackageError(MetaRLError):
    """A required Python package is not installed; the message says how to install it."""

    bad_input = False

    def __init__(self, package: str, remedy: str) -> None:
        super().__init__(f"this needs {package}, which is not installed: {remedy}")


class FaultError(MetaRLError):
    """A run under a fault ended before its fault began."""


class UnknownNameError(MetaRLError):
    """A given name is not among the valid ones. place: where these are registered."""

    def __init__(self, what: str, given: str, valid: Iterable[str], place: str = "") -> None:
        names = sorted(valid)
        given = shortened(given)
        close = get_close_matches(given, names, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        listed = ", ".join(names[:_MOST_NAMES]) or "(none)"
        there = f" ({place})" if place else ""
        super().__init__(f"unknown {what} '{given}'.{hint} Valid{there}: {listed}{more}.")


def shown(value: Any, limit: int = SHOWN_CHARACTERS) -> str:
    """Short repr of any value for a message, at most `limit` characters."""
    try:
        return shortened(_SHORT.repr(value), limit)
    except ValueError:  # the number has more digits than Python converts
        return f"a {type(value).__name__} that is too long to write"


def one_line(error: BaseException) -> str:
    """An error's message on one line, at most some hundred characters."""
    return shortened(" ".join(str(error).split()) or type(error).__name__, 2 * SHOWN_CHARACTERS)


def shortened(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """A printable text on one line; if longer than `limit` characters, its middle is left out."""
    if len(text) > limit:
        text = f"{text[: limit // 2]} … {text[-limit // 4 :]}"
    return "".join(letter if letter.isprintable() else "�" for letter in text)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = SHOWN_CHARACTERS
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 12
_SHORT.maxlevel = 4
