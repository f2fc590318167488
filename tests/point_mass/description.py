# SPDX-License-Identifier: Apache-2.0
"""Description of a point mass: `robot.yaml` beside `robot.xml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from metarl_robot.core.coordinates import Coordinates
from metarl_robot.core.mjcf_robot import MjcfRobot, MjcfRobotFile
from metarl_robot.core.validation import between
from metarl_robot.core.wording import Wording


class PointMassFile(MjcfRobotFile):
    """Keys of a point mass's `robot.yaml`; limits hold along x and along y."""

    reach_m: Annotated[float, between(0.1, 100.0)]
    speed_m_s: Annotated[float, between(0.01, 100.0)]
    force_n: Annotated[float, between(0.01, 1e4)]
    force_rate_n_s: Annotated[float, between(0.1, 1e7)]


class PointMass(MjcfRobot):
    """A point mass; its channels are the forces along x and y."""

    file = PointMassFile
    kind = "point_mass"
    interface = "point_mass.interface:PointMassInterface"
    flat_outputs = "metarl_robot.trajectories.euclidean_outputs:EuclideanOutputs"
    fallback_law = "metarl_robot.safety.stop_and_hold:StopAndHold"
    simulation = "point_mass.simulation:PointMassSimulation"
    dynamics = "point_mass.dynamics:PointMassDynamics"
    filter_tuning = "metarl_robot.adaptation.euclidean_tuning:filter_tuning"
    features: ClassVar[Mapping[str, str]] = {
        "ground": "point_mass.ground:FEATURES",
        "learned": "metarl_robot.adaptation.learned_features:SPEC",
    }
    reported = ("point_mass.ground:GROUND",)
    controllers: ClassVar[Mapping[str, str]] = {
        "point_pd": "point_mass.controllers:PD",
        "point_adaptive": "point_mass.controllers:ADAPTIVE",
    }
    adaptive_controller = "point_adaptive"
    wording = Wording("point mass", "point mass", channel="axis", effort="force", unit="N")

    def __init__(self, description: PointMassFile, folder: Path) -> None:
        super().__init__(description, folder)
        self.channel_names = ("x", "y")
        units = ("position_m", "velocity_m_s", "force_n")
        self.coordinates = Coordinates(*(tuple(f"{axis}/{unit}" for axis in "xy") for unit in units))
        self.nq = self.dof = 2
        self.position_lower, self.position_upper = np.full(2, -description.reach_m), np.full(2, description.reach_m)
        self.velocity_limit = np.full(2, description.speed_m_s)
        self.effort_lower, self.effort_limit = np.full(2, -description.force_n), np.full(2, description.force_n)
        self.effort_rate_limit = np.full(2, description.force_rate_n_s)
        self.home = np.zeros(2)
