"""The Controller protocol: the one thing a loop, a node or another simulator needs to know."""

from __future__ import annotations

from typing import Protocol

from metarl_robot.signals import Command, Reference, State


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
        """
        ...
