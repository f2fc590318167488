# SPDX-License-Identifier: Apache-2.0
"""Estimates of the ground and of the load as named tables on ~/terrain and ~/load: rows `mean` and `std`."""

from __future__ import annotations

from typing import Any

import numpy as np
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.quantities import Report
from metarl_robot.core.signals import Context
from metarl_robot.core.tables import Table
from metarl_robot.ros_nodes.convert import table_message
from metarl_robot.ros_nodes.interface import ReportTopic


def report_topic(name: str) -> ReportTopic:
    """The topic of a robot's report with this name."""

    def make(robot: Any, stamp_ns: int, context: Context) -> Float64MultiArray | None:
        report: Report = next(report for report in robot.reports if report.name == name)
        found = report.estimate(context)
        if found is None:
            return None
        columns = tuple(quantity.name for quantity in report.quantities)
        return table_message(Table(stamp_ns, ("mean", "std"), columns, np.stack([found.mean, found.std])))

    return ReportTopic(name, Float64MultiArray, make)
