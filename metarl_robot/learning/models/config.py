# SPDX-License-Identifier: Apache-2.0
"""Settings of a training run: flat, every field described and bounded."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TrainConfig(BaseModel):
    """Settings of `metarl train`. The same settings give the same weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: str = Field(
        "last_layer", description="adapter to train: a Bayesian last layer (last_layer), or MAML's weights (maml)"
    )
    tasks: int = Field(2000, ge=20, le=100000, description="simulated tasks to learn from")
    duration_s: float = Field(1.5, ge=1.2, le=20.0, description="simulated time of each task [s]")
    seed: int = Field(0, ge=0, description="seed of tasks, motions, noise and initial weights")
    steps: int = Field(1500, ge=1, le=1000000, description="gradient steps")
    batch: int = Field(32, ge=2, le=1000, description="tasks in a gradient step")
    learning_rate: float = Field(3e-3, gt=0.0, le=0.1, description="initial rate; it falls to zero along a cosine")
    groups: tuple[str, ...] = Field(
        ("all",), description="raw, physics-informed feature groups; all: all groups of the kind of robot"
    )
    learned: int = Field(10, ge=0, le=64, description="learned features of each joint; 0: none")
    hidden: tuple[int, ...] = Field(
        (), description="widths of the hidden layers; none given: 64, 64, with maml 64, 64, 64"
    )
    features: Literal["meta", "supervised"] = Field(
        "meta",
        description="learned features trained through the posterior, or by plain regression on all tasks together",
    )
    prior: Literal["empirical", "trained", "isotropic"] = Field(
        "empirical",
        description="prior of the raw features: the tasks' mean and covariance, trained from these, or zero mean and "
        "one scale for each sort of entry; the prior of the learned features is trained, except with isotropic",
    )
    unloaded_start: bool = Field(
        True, description="the prior's mean of removable entries (a payload's) is 0: the robot starts unloaded"
    )
    context_weight: float = Field(
        1.0, ge=0.0, le=100.0, description="weight of the true context's likelihood beside the residual's"
    )
    inner_steps: int = Field(1, ge=1, le=20, description="maml: gradient steps of an adaptation")
    threads: int = Field(2, ge=1, le=64, description="processor threads")

    @model_validator(mode="after")
    def _something_to_train(self) -> TrainConfig:
        if self.features == "supervised" and (self.learned == 0 or self.prior == "trained"):
            raise ValueError(
                "features 'supervised' train the learned features alone: needs learned >= 1 and a prior that is not "
                "trained"
            )
        if not self.groups and self.learned == 0:
            raise ValueError("no features at all: needs groups or learned >= 1")
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return self.hidden or ((64, 64, 64) if self.adapter == "maml" else (64, 64))
