# SPDX-License-Identifier: Apache-2.0
"""Adapters of ground vehicles: those of every kind, with disturbances that turn with the body (body_filter.py)."""

from __future__ import annotations

from typing import Any

import numpy as np

from metarl_robot.adaptation.adapter_spec import AdapterSpec
from metarl_robot.adaptation.factory import filter_tuning, marginal_prior
from metarl_robot.adaptation.feature_spec import feature_map
from metarl_robot.adaptation.features import FeatureMap, Jump
from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.robots.ground.body_filter import BodyFilter
from metarl_robot.robots.ground.context_names import STIFFNESS
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import GroundDynamics

STIFFNESS_STD = 1.0
"""Least standard deviation of the logarithm of the tyres' stiffness over the description's.

Training draws tyres about like the description's. Other vehicles and simulators of the same name have wheels that are
several times as stiff, up to rigid ones. A filter that does not expect them takes stiffness for friction that is not
there. Stiffness belongs to the tyres: when the ground changes, it changes as little as in training. Otherwise ice is
taken for soft tyres of the old friction, and the plan steers beyond the peak of their force.
"""


def _observer(robot: Ground, dynamics: GroundDynamics, tuning: AdapterTuning, checkpoint: Any) -> BodyFilter:
    nothing = Prior(np.zeros(0), np.zeros((0, 0)))
    return BodyFilter(dynamics, FeatureMap(dynamics, ()), nothing, filter_tuning(robot, dynamics, tuning))


def _last_layer(robot: Ground, dynamics: GroundDynamics, tuning: AdapterTuning, checkpoint: Checkpoint) -> BodyFilter:
    features = feature_map(robot, dynamics, checkpoint.meta["features"], checkpoint)
    prior = marginal_prior(checkpoint, features)
    noise = filter_tuning(robot, dynamics, tuning, tuple(_as_trained(jump, prior) for jump in features.jumps))
    return BodyFilter(dynamics, features, _open(prior, features), noise)


def _as_trained(jump: Jump, prior: Prior) -> Jump:
    """A jump as wide as the prior."""
    return jump._replace(covariance=prior.covariance[np.ix_(jump.entries, jump.entries)])


def _open(prior: Prior, features: FeatureMap) -> Prior:
    """The prior with STIFFNESS_STD, and correlations as before."""
    if STIFFNESS not in features.names:
        return prior
    at, factor = features.names.index(STIFFNESS), np.ones(len(prior.mean))
    factor[at] = max(STIFFNESS_STD / np.sqrt(prior.covariance[at, at]), 1.0)
    return Prior(prior.mean, factor[:, None] * prior.covariance * factor)


DISTURBANCE_OBSERVER = AdapterSpec(_observer, controller="offset_free_mpc")
LAST_LAYER = AdapterSpec(_last_layer, "last_layer", "metarl_robot.sim.learners:train_last_layer")
