# SPDX-License-Identifier: Apache-2.0
"""Settings of `metarl train-policy`.

The defaults are those of the MAML paper's code for 2-D navigation (github.com/cbfinn/maml_rl, maml_examples/): 20
tasks, 20 episodes, step 0.5, trust region 0.01, two layers of 100. The paper trains for up to 500 iterations.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Width = Annotated[int, Field(ge=1, le=4096)]


class PolicyConfig(BaseModel):
    """The same settings give the same weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    algo: str = Field(
        "maml_pg",
        description="maml_pg, promp: weights that adapt by gradient steps; pg: plain policy gradient over all tasks; "
        "rl2: a recurrent policy that adapts by its state",
    )
    engine: Literal["own", "rllib"] = Field("own", description="rllib: RLlib's PPO trains (rl2)")
    seed: int = Field(0, ge=0, lt=2**31, description="of tasks, episodes and initial weights")
    iterations: int = Field(150, ge=1, le=1000000, description="updates of the weights")
    tasks: int = Field(20, ge=1, le=1000, description="tasks in an iteration")
    episodes: int = Field(20, ge=2, le=1000, description="episodes of each task, for each gradient step; rl2: trials")
    trial_episodes: int = Field(
        2, ge=1, le=100, description="rl2: episodes of a trial, through which the policy keeps its state"
    )
    inner_steps: int = Field(1, ge=1, le=5, description="gradient steps of the adaptation that is trained for")
    inner_rate: float = Field(
        0.5,
        ge=1e-5,
        le=100.0,
        allow_inf_nan=False,
        description="step size of the first gradient step of an adaptation; later ones have half of it. "
        "pg: replaced by the best of a grid",
    )
    discount: float = Field(0.99, ge=0.0, le=1.0, allow_inf_nan=False, description="of rewards, per step")
    gae_lambda: float = Field(1.0, ge=0.0, le=1.0, allow_inf_nan=False, description="of the advantage estimation")
    max_kl: float = Field(
        0.01, gt=0.0, le=1.0, allow_inf_nan=False, description="maml_pg: trust region, mean divergence of the policies"
    )
    learning_rate: float = Field(1e-2, gt=0.0, le=1.0, allow_inf_nan=False, description="pg: of Adam")
    ppo_rate: float = Field(1e-3, gt=0.0, le=1.0, allow_inf_nan=False, description="promp, rl2: of Adam")
    hidden: tuple[Width, ...] = Field(
        (100, 100), min_length=1, max_length=5, description="widths of the hidden layers; rl2: the last is recurrent"
    )
    first_std: float = Field(
        1.0,
        gt=0.0,
        le=10.0,
        allow_inf_nan=False,
        description="standard deviation of the first actions, in units of half the action range",
    )
    threads: int = Field(1, ge=1, le=64, description="processor threads")
    groups: int = Field(
        1,
        ge=1,
        le=1000,
        description="groups of tasks with random numbers of their own, which --ray runs side by side; they change the "
        "result",
    )
