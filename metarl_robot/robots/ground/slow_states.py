# SPDX-License-Identifier: Apache-2.0
"""A ground vehicle's adapter that follows the rate of the states; see control/at_state_rate.py.

At the control period's rate a filter takes intervals beyond 30 ms for gaps: without this, a car of 1.1 t whose states
came at 25 Hz instead of 100 Hz kept its prior, and left its path by metres.
"""

from __future__ import annotations

from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.factory import bare_adapter
from metarl_robot.adaptation.last_learned import continued
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.control.at_state_rate import AtStateRate
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import GroundDynamics


class GroundAtStateRate(AtStateRate):
    """The adapter `name` at the period of the states."""

    def __init__(self, robot: Ground, name: str, tuning: AdapterTuning, weights: Checkpoint | None = None) -> None:
        dynamics = GroundDynamics(robot)

        def adapter_at(at: Ground) -> tuple[Adapter, str]:
            return bare_adapter(name, at, dynamics, tuning, weights), ""

        super().__init__(robot, adapter_at)

    def continue_from(self, earlier: GroundAtStateRate) -> bool:
        """See MomentumFilter."""
        return continued(self.inner, earlier.inner)
