# SPDX-License-Identifier: Apache-2.0
"""Commands to the gate in a named table, as a part of an interface."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.tables import Table, table_of
from metarl_robot.ros_nodes.convert import UnusableError, listed, table_message
from metarl_robot.ros_nodes.interface import SOURCE, GateCommand, Part
from metarl_robot.safety.refusals import Rejection

Array = NDArray[np.float64]

EFFORT, OWN = "effort", "own"
"""Rows of a table: efforts made of commands, and those by which a driver moves the robot without them."""


class TableCommands(Part):
    """Commands to the gate in a named table: row `effort`, columns the robot's channels in any order."""

    gate_command_type = Float64MultiArray

    def gate_command(self, stamp_ns: int, effort: Array) -> Float64MultiArray:
        return self._table(stamp_ns, EFFORT, effort)

    def acting_effort(self, stamp_ns: int, effort: Array, own: bool) -> Float64MultiArray:
        """An effort (nu,) that acted. own: not made of commands, see `OWN`."""
        return self._table(stamp_ns, OWN if own else EFFORT, effort)

    def _table(self, stamp_ns: int, row: str, effort: Array) -> Float64MultiArray:
        return table_message(Table(stamp_ns, (row,), self._names, effort[None], SOURCE))

    def read_gate_command(self, message: Float64MultiArray) -> GateCommand:
        try:
            table = table_of(message)
        except SignalError as error:
            return GateCommand(-1, partial(_fail, UnusableError(Rejection.NAMES, f"command: {error}")))
        return GateCommand(table.stamp_ns, partial(self._effort, table), table.source)

    def _effort(self, table: Table) -> Array:
        if set(table.columns) != set(self._names) or len(table.columns) != len(self._names):
            raise UnusableError(
                Rejection.NAMES,
                f"command: columns are {listed(table.columns)}; they must be {list(self._names)}, in any order",
            )
        return table.values[0][[table.columns.index(name) for name in self._names]]


def _fail(error: UnusableError) -> Array:
    raise error
