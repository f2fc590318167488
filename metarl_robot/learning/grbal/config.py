# SPDX-License-Identifier: Apache-2.0
"""Settings of `metarl train-grbal`.

M = K = 16 and H = 10 are those of the paper's code (github.com/iclavera/learning_to_adapt). Its network has two layers
of 512 and its planner 1000 random plans; ours are smaller.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.control.model_planner import Method, Planning

Width = Annotated[int, Field(ge=1, le=4096)]


class GrbalConfig(BaseModel):
    """The same settings give the same weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, lt=2**31, description="of tasks, starts, plans and initial weights")
    iterations: int = Field(8, ge=1, le=10000, description="rounds of collecting episodes and training on all of them")
    first_episodes: int = Field(16, ge=2, le=1000, description="episodes with random actions, before the first round")
    episodes: int = Field(8, ge=2, le=1000, description="episodes of a round, half with each of the two models")
    gradient_steps: int = Field(800, ge=1, le=1000000, description="gradient steps of each model in a round")
    batch: int = Field(8, ge=2, le=1000, description="windows in a gradient step")
    memory: int = Field(16, ge=2, le=100, description="M, past transitions that an adaptation uses")
    predicted: int = Field(16, ge=1, le=100, description="K, transitions after them that an adapted model predicts")
    inner_steps: int = Field(1, ge=1, le=20, description="gradient steps of an adaptation")
    learning_rate: float = Field(1e-3, gt=0.0, le=0.1, allow_inf_nan=False, description="of Adam")
    hidden: tuple[Width, ...] = Field((128, 128), min_length=1, max_length=5, description="widths of the hidden layers")
    planner: Method = Field("mppi", description="sampling MPC: mppi, or the paper's random_shooting")
    horizon: int = Field(10, ge=1, le=200, description="H, steps of a plan")
    samples: int = Field(128, ge=2, le=100000, description="plans in a step")
    threads: int = Field(1, ge=1, le=64, description="processor threads")

    @property
    def planning(self) -> Planning:
        return Planning(self.planner, self.horizon, self.samples)
