# SPDX-License-Identifier: Apache-2.0
"""Physical quantities of a task: a payload's mass, the wind, the grip of the ground.

A kind of robot groups its quantities in reports (`Robot.reports`). Its plant gives their true values
(sim/kinds.py: `Plant.quantities`), a report reads their estimates from an adapter's context. Common code scores,
records, publishes and draws them by name, title and unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Context

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Quantity:
    """One physical quantity.

    stem, suffix: name and unit in names of columns: 'payload_mass', 'kg'. title, unit: for display: 'mass', 'kg'.
    scored: whether an evaluation scores the error of its estimate. decimals: in tables. span: greatest magnitude in
    figures; None: that of the data. calibrated: whether `metarl calibration` scores it although an evaluation does not.
    """

    stem: str
    suffix: str
    title: str
    unit: str
    scored: bool = False
    decimals: int = 3
    span: float | None = None
    calibrated: bool = False

    @property
    def name(self) -> str:
        """Name of its column: 'payload_mass_kg'."""
        return f"{self.stem}_{self.suffix}"

    @property
    def axis(self) -> tuple[str, str]:
        """Stem without its axis, and the axis: ('payload_com', 'x'); the axis of a scalar is empty."""
        stem, _, axis = self.stem.rpartition("_")
        return (stem, axis) if axis in ("x", "y", "z") and stem else (self.stem, "")

    @property
    def error_name(self) -> str:
        """Name of the column of its estimate's error."""
        return f"{self.stem}_error_{self.suffix}"

    @property
    def std_name(self) -> str:
        """Name of the column of its estimate's standard deviation."""
        return f"{self.stem}_std_{self.suffix}"


class Estimate(NamedTuple):
    """Estimates of a report's quantities: mean, std (k,); NaN where there is none."""

    mean: Array
    std: Array


class Report(Protocol):
    """Quantities that are estimated, published and shown together.

    name: of its topic, figure and table: 'payload'. quantities: k of them.
    """

    name: str
    quantities: tuple[Quantity, ...]

    def estimate(self, context: Context) -> Estimate | None:
        """The estimate in an adapter's context; None if it holds none of the quantities."""
        ...

    def change(self, before: Array, after: Array) -> str:
        """Words for a change of the true values (k,): 'payload attached'; empty if it needs none."""
        ...


def quantities(robot: Robot) -> tuple[Quantity, ...]:
    """All quantities of a robot's reports, in the order of `Plant.quantities`."""
    return tuple(quantity for report in robot.reports for quantity in report.quantities)
