# SPDX-License-Identifier: Apache-2.0
"""The reference while another controller moves the robot, such as an autopilot by its own modes.

The commands do not act then, and a place that was held before may be far away: the robot would leave its present place
as soon as the commands act again. Until a trajectory is sent, the reference is therefore the measured place; when the
commands begin to act, the robot is brought to rest from its motion. A trajectory that was followed before the other
controller took over is dropped.
"""

from __future__ import annotations

from metarl_robot.core.signals import State
from metarl_robot.trajectories.reference_manager import ReferenceManager


class Yielding:
    """See the module's docstring. references: the robot's."""

    def __init__(self, references: ReferenceManager) -> None:
        self._references = references
        self._others: bool | None = None  # whether another controller moved the robot, when it was last known
        self._sent = False  # a trajectory, since the commands last ceased to act

    def accepted(self) -> None:
        """A trajectory was accepted: it is kept."""
        self._sent = True

    def look(self, others: bool, state: State, now_s: float) -> None:
        """Adapt the reference at a state. others: whether another controller moves the robot."""
        before, self._others = self._others, others
        if others and before is False:
            self._sent = False
        if self._sent:
            return
        if others:
            self._references.hold(state.q)
        elif before:
            self._references.brake(state, now_s)
