# SPDX-License-Identifier: Apache-2.0
"""The momentum balance of a recording as rows that are linear in a robot's physical parameters.

The mean force Δ that the nominal model misses in a cell (cells.py), with efforts that acted d_0 after their stamps, is

    Δ = Σ_links Y (π - π_0) - (I - I_0) v̇ - (b - b_0) v - c tanh(v / v_s) + ε τ + o - (d - d_0) τ̇

with inertial parameters π, armature I, viscous and Coulomb friction b and c, motor strength 1 + ε, an offset o of the
effort and the delay d. Index 0: nominal. A joint at rest has any friction, so that its row says nothing.

Rows are means over windows of `WINDOW` cells. Errors of the momenta at the ends of a cell enter the next cell with the
other sign and cancel in the window, but for those at its ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream_cells import STEPS
from metarl_robot.core.mjcf_robot import MjcfRobot
from metarl_robot.core.robot import named
from metarl_robot.dynamics.link_regressor import LinkRegressor
from metarl_robot.logs.cells import Cells, measure
from metarl_robot.logs.recording import Recording

Array = NDArray[np.float64]

COULOMB_VELOCITY = 0.02
"""v_s [rad/s, m/s]."""
WINDOW, HOP = 4, 2
"""Cells of a window, and cells from one window to the next."""
MOST_CELLS = 24_000
"""20 minutes of all recordings are used."""
OF_JOINTS = ("armature", "viscous", "coulomb", "strength", "offset")


@dataclass(frozen=True)
class Layout:
    """Places of the parameters among the columns: ten for each link, five for each joint, and the delay."""

    links: int
    joints: int

    @property
    def size(self) -> int:
        return 10 * self.links + len(OF_JOINTS) * self.joints + 1

    def link(self, i: int) -> slice:
        """Inertial parameters of a link."""
        return slice(10 * i, 10 * (i + 1))

    def of(self, name: str) -> slice:
        """One of OF_JOINTS."""
        start = 10 * self.links + OF_JOINTS.index(name) * self.joints
        return slice(start, start + self.joints)

    @property
    def delay(self) -> int:
        return self.size - 1


@dataclass(frozen=True, eq=False)
class Rows:
    """C windows with missed ≈ phi x.

    phi: (C, n, p). missed: (C, n) Δ, with d_0 moved to this side so that x has d itself. usable: (C,) without a gap.
    moving: (C, n) where friction is known. hop_s: time from one window to the next.
    """

    phi: Array
    missed: Array
    usable: NDArray[np.bool_]
    moving: NDArray[np.bool_]
    hop_s: float

    @property
    def used(self) -> NDArray[np.bool_]:
        """Rows (C, n) to fit."""
        return self.usable[:, None] & self.moving

    def left(self, x: Array) -> Array:
        """Missed force (C, n) that parameters x leave."""
        return np.asarray(self.missed - self.phi @ x)


class Balance:
    """Rows of one recording, for any delay. most: number of cells that are used, from the start."""

    def __init__(self, robot: MjcfRobot, regressor: LinkRegressor, recording: Recording, most: int) -> None:
        self._dynamics, self._recording, self._most = named(robot.dynamics)(robot), recording, most
        cells = self._cells(0.0)
        self._layout = Layout(len(regressor.links), robot.dof)
        self._links = _link_columns(regressor, cells)

    def rows(self, delay_s: float) -> Rows:
        """Rows with the efforts that acted `delay_s` after their stamps."""
        cells = self._cells(delay_s)
        layout, count, n = self._layout, len(cells), self._layout.joints
        ends = np.arange(0, count * STEPS + 1, STEPS)
        v = 0.5 * (cells.v[1:] + cells.v[:-1])
        columns = {
            "armature": -np.diff(cells.v[ends], axis=0) / cells.cell_s,
            "viscous": -_means(v, count),
            "coulomb": -_means(np.tanh(v / COULOMB_VELOCITY), count),
            "strength": _means(0.5 * (cells.effort[1:] + cells.effort[:-1]), count),
            "offset": np.ones((count, n)),
        }
        phi, joints = np.zeros((count, n, layout.size)), np.arange(n)
        phi[:, :, : 10 * layout.links] = self._links
        for name, values in columns.items():
            phi[:, joints, layout.of(name).start + joints] = values
        phi[:, :, layout.delay] = -np.diff(cells.effort[ends], axis=0) / cells.cell_s
        missed = cells.residual + delay_s * phi[:, :, layout.delay]
        moving = _all(cells.moving)
        return Rows(_window(phi), _window(missed), _all(cells.usable), moving, HOP * cells.cell_s)

    def _cells(self, delay_s: float) -> Cells:
        cells = measure(self._dynamics, self._recording.acting(delay_s))
        return cells.part(min(len(cells), self._most))


def _window(cells: Array) -> Array:
    """Means over the windows."""
    starts = range(WINDOW)
    last = len(cells) - WINDOW + 1
    return np.asarray(sum(cells[i : last + i : HOP] for i in starts) / WINDOW)


def _all(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether it holds in all cells of the windows."""
    last = len(cells) - WINDOW + 1
    return np.asarray(np.all([cells[i : last + i : HOP] for i in range(WINDOW)], axis=0))


def _means(steps: Array, count: int) -> Array:
    return np.asarray(steps.reshape(count, STEPS, -1).mean(axis=1))


def _link_columns(regressor: LinkRegressor, cells: Cells) -> Array:
    """Mean Y (C, n, 10 L) in momentum form: (∫ Y_β dt - ΔY_p) / T."""
    by_momentum, by_beta = regressor(cells.q, cells.v)
    held = _means((0.5 * (by_beta[1:] + by_beta[:-1])).reshape(len(by_beta) - 1, -1), len(cells))
    changed = np.diff(by_momentum[::STEPS], axis=0) / cells.cell_s
    return np.asarray(held.reshape(changed.shape) - changed)
