# SPDX-License-Identifier: Apache-2.0
"""The recurrent policy as a module of RLlib: the same network and the same names of its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from metarl_robot.learning.policies.recurrent import RecurrentPolicy

_STATE = "h"


class RecurrentModule(TorchRLModule, ValueFunctionAPI):
    """RecurrentPolicy on batches of RLlib: observations are its inputs (N, T, k).

    model_config: sizes `observations`, `actions` and `hidden` of the policy, `seed` and `std` of its first weights, and
    RLlib's max_seq_len.
    """

    def setup(self) -> None:
        config = self.model_config
        self.policy = RecurrentPolicy(config["observations"], config["actions"], config["hidden"])
        self.policy.draw(torch.Generator().manual_seed(config["seed"]), config["std"])

    def get_initial_state(self) -> dict[str, Any]:
        """State before a trial."""
        return {_STATE: np.zeros(self.model_config["hidden"][-1], np.float32)}

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        features, state = self._features(batch)
        mean = self.policy.action(features)
        logits = torch.cat([mean, self.policy.log_std.expand_as(mean)], -1)
        return {
            Columns.ACTION_DIST_INPUTS: logits,
            Columns.STATE_OUT: {_STATE: state.squeeze(0)},
            Columns.EMBEDDINGS: features,
        }

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward(batch)

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """Values (N, T) in units of the reward's scale."""
        features = self._features(batch)[0] if embeddings is None else embeddings
        values: Tensor = self.policy.value(features).squeeze(-1)
        return values

    def _features(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return self.policy.features(batch[Columns.OBS], batch[Columns.STATE_IN][_STATE].unsqueeze(0).contiguous())
