# SPDX-License-Identifier: Apache-2.0
"""Your own controller: a joint impedance controller, compared with ours on the same simulated run.

    python examples/02_own_controller.py

To use it by name in every command, launch file and node (`metarl eval panda --controllers impedance,meta_mpc`),
register its SPEC as an entry point in your package's pyproject.toml; nothing in metarl_robot changes:

    [project.entry-points."metarl_robot.controllers"]
    impedance = "my_package.impedance:SPEC"

Its configuration is then read from models/<robot>/config/impedance.yaml, and validated against the ranges below.
"""

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

import metarl_robot as mr
from metarl_robot.robots.arm.dynamics import ArmDynamics


class ImpedanceConfig(BaseModel):
    """Flat fields, each with a range and a description; they become ROS 2 parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stiffness: float = Field(100.0, ge=0.0, le=2000.0, description="joint stiffness [Nm/rad]")
    damping: float = Field(10.0, ge=0.0, le=200.0, description="joint damping [Nms/rad]")


class Impedance:
    """A spring and a damper for each joint, with gravity compensation.

    It is compliant, and has a steady-state error under a load.
    """

    def __init__(self, robot: mr.Robot, config: ImpedanceConfig) -> None:
        self._limit, self._config = robot.effort_limit, config
        self._dynamics = ArmDynamics(robot)

    def reset(self) -> None:
        """Do nothing: the controller has no state."""

    def step(self, time: float, state: mr.State, reference: mr.Reference) -> mr.Command:
        target = reference.sample(np.array([time]))
        spring = self._config.stiffness * (target.q[0] - state.q) + self._config.damping * (target.v[0] - state.v)
        gravity = self._dynamics.bias(state.q, np.zeros_like(state.v))
        return mr.Command(np.clip(gravity + spring, -self._limit, self._limit))


def build(robot: mr.Robot, config: ImpedanceConfig, checkpoint: Path | None, oracle: object) -> Impedance:
    """Called by the factory; a learned controller would load `checkpoint`."""
    return Impedance(robot, config)


SPEC = mr.ControllerSpec(ImpedanceConfig, build, kinds=("arm",))

if __name__ == "__main__":
    robot = mr.load_robot("planar2")
    pickup = mr.simulation(robot).scenario("heldout", "pickup", seed=0)
    for name, controller in {
        "impedance": build(robot, ImpedanceConfig(), None, None),
        "pid": mr.make_controller(robot, "pid"),
    }.items():
        result = mr.run_episode(robot, lambda _, chosen=controller: chosen, pickup, name).result
        print(
            f"{name:10s} before {1e3 * result.rmse_before_m:6.2f} mm   after the pick-up "
            f"{1e3 * result.rmse_after_m:6.2f} mm"
        )
