# SPDX-License-Identifier: Apache-2.0
"""The plant node with Betaflight's firmware as the flight controller: `plant`, but moved by the firmware's motors.

The firmware (`make betaflight`) listens on tcp://127.0.0.1:5761, where betaflight_bridge reaches it. The topic of
commands is remapped to the bridge's /thrust_controller/acting: such a message tells that the bridge has answered a
state, and moves time on; its thrusts are not used. The quadrotor stands at its start until its motors carry it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.ros_nodes.plant import PlantNode, declared
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.sim.kinds import Plant
from metarl_robot.sim.quadrotor.betaflight.stand import StandPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask

__all__ = ["BetaflightPlantNode", "declared"]


class BetaflightPlantNode(PlantNode):
    """See the module's docstring."""

    _stand: StandPlant | None = None

    def make_plant(self, task: QuadrotorTask, seed: int | Sequence[int]) -> Plant:
        self._stand = StandPlant(cast(Quadrotor, self._robot), task, seed)
        return cast(Plant, self._stand)

    def cleanup(self) -> None:
        super().cleanup()
        self._end_firmware()

    def close(self) -> None:
        super().close()
        self._end_firmware()

    def _end_firmware(self) -> None:
        if self._stand is not None:
            self._stand.close()
            self._stand = None


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the plant node with Betaflight."""
    return run(BetaflightPlantNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
