"""The project's exceptions: one base class, so that a caller can catch all of them.

A message says what was wrong, what was given and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MetaRLError(Exception):
    """Base of every error that this project raises on purpose."""


class RobotError(MetaRLError):
    """A robot description is missing, malformed or contradicts its MJCF."""


class SignalError(MetaRLError):
    """A state, reference or command has the wrong size, names or values."""


class CheckpointError(MetaRLError):
    """Trained weights are missing, damaged, of another robot or of a refused format."""


class UnknownNameError(MetaRLError):
    """A name was given that is not among the valid ones."""

    def __init__(self, what: str, given: str, valid: Iterable[str]) -> None:
        names = sorted(valid)
        close = get_close_matches(given, names, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        super().__init__(f"unknown {what} '{given}'.{hint} Valid: {', '.join(names) or '(none)'}.")
