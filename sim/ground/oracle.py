# SPDX-License-Identifier: Apache-2.0
"""Oracle of a ground vehicle: an adapter with the true parameters; see metarl_robot.sim.oracle."""

from __future__ import annotations

import numpy as np

from metarl_robot.adaptation.factory import filter_tuning
from metarl_robot.adaptation.feature_spec import feature_groups, raw_groups, true_contexts
from metarl_robot.adaptation.features import FeatureMap
from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.robots.ground.body_filter import BodyFilter
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import GroundDynamics
from metarl_robot.sim.ground.task import GroundTask
from metarl_robot.sim.oracle import OracleAdapter


class OracleBodyFilter(BodyFilter, OracleAdapter):
    """An oracle with disturbances that turn with the body."""


def make_oracle(robot: Ground, dynamics: GroundDynamics, tuning: AdapterTuning) -> OracleAdapter:
    """Make an oracle of the nominal task; the factory of `oracle_mpc`."""
    names = raw_groups(robot.kind)

    def known(task: GroundTask) -> tuple[FeatureMap, Prior]:
        groups = feature_groups(robot, dynamics, names)
        context = true_contexts(robot, [task], names, groups)[0]
        return FeatureMap(dynamics, groups), Prior(context, np.zeros((len(context), len(context))))

    task = GroundTask(friction=robot.friction, rolling_resistance=robot.rolling)
    return OracleBodyFilter(dynamics, known, task, filter_tuning(robot, dynamics, tuning))
