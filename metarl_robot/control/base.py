# SPDX-License-Identifier: Apache-2.0
"""The Controller protocol, the interface for loops, nodes and other simulators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from metarl_robot.core.signals import Command, Reference, State


class Controller(Protocol):
    """Maps (time, state, reference) to a command; keeps its adapter and plan between calls."""

    def reset(self) -> None:
        """Discard plan, context and last command; call before an episode."""
        ...

    def step(self, time: float, state: State, reference: Reference) -> Command:
        """Compute the command of one control step.

        Arguments:
            time: stamp of the state, monotonic [s].
            state: measured state at `time`.
            reference: trajectory to follow.

        Returns:
            A finite command within limits. Problems are reported in its status, not by exceptions.

        Raises:
            SignalError: wrong shape or type; raised by the factory's controllers (guard.py) before anything changes.
        """
        ...


@dataclass(frozen=True)
class ControllerSpec:
    """Specification of one controller.

    config: a pydantic model with flat fields, each with a description and, for numbers, a range.
    build: (the kind's robot, config, checkpoint or None, oracle or None) → Controller.
    kinds: kinds of robots that it can control; None: all.
    own_weights: file in the robot's folder that holds weights for this controller alone; None: it has none.
    """

    config: type[BaseModel]
    build: Callable[[Any, Any, Path | None, Any], Controller]
    kinds: tuple[str, ...] | None = None
    own_weights: str | None = None
