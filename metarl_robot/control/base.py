# SPDX-License-Identifier: Apache-2.0
"""The Controller protocol: the one thing a loop, a node or another simulator needs to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from metarl_robot.core.signals import Command, Reference, State


class Controller(Protocol):
    """Maps (time, state, reference) to a command; keeps its own adapter and plan between calls."""

    def reset(self) -> None:
        """Forget plan, context and last command: call before an episode."""
        ...

    def step(self, time: float, state: State, reference: Reference) -> Command:
        """One control step.

        Arguments:
            time: monotonic seconds of the state's stamp.
            state: measured state at `time`.
            reference: trajectory to follow.

        Returns:
            A command that is finite and within limits; trouble is in its status, never an exception.

        Raises:
            SignalError: a wrong shape or type (by the factory's controllers: guard.py), before anything has changed.
        """
        ...


@dataclass(frozen=True)
class ControllerSpec:
    """How to make one controller.

    config: a pydantic model with flat fields, each with a description and, for numbers, a range.
    build: (the kind's robot, config, checkpoint or None, oracle or None) → Controller.
    kinds: the kinds of robot that it drives; None: every kind.
    """

    config: type[BaseModel]
    build: Callable[[Any, Any, Path | None, Any], Controller]
    kinds: tuple[str, ...] | None = None
