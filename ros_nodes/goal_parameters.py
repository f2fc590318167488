# SPDX-License-Identifier: Apache-2.0
"""Parameters of goals that are trajectories of joints, below `constraints.` (trajectory_goals.py)."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.trajectories.goal_tolerances import GoalTolerances, Tolerances


class GoalParameters(BaseModel):
    """Default tolerances of goals, equal for all joints; names and defaults of joint_trajectory_controller."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trajectory: float = Field(0.0, ge=0.0, le=1e6, description="largest position error on the way; 0: any [rad, m]")
    goal: float = Field(0.0, ge=0.0, le=1e6, description="largest position error at the end; 0: any [rad, m]")
    stopped_velocity_tolerance: float = Field(
        0.01, ge=0.0, le=1e6, description="largest velocity error at the end; 0: any [rad/s, m/s]"
    )
    goal_time: float = Field(
        0.0, ge=0.0, le=1e6, description="time after the end in which the goal must be reached; 0: any [s]"
    )

    def tolerances(self, count: int) -> GoalTolerances:
        """The tolerances of a robot with `count` joints."""
        path = Tolerances(np.full(count, self.trajectory), np.zeros(count))
        goal = Tolerances(np.full(count, self.goal), np.full(count, self.stopped_velocity_tolerance))
        return GoalTolerances(path, goal, self.goal_time)
