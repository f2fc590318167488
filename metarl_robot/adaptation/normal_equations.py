# SPDX-License-Identifier: Apache-2.0
"""Normal equations of regressions on the same cells, with several priors and noise levels (cell_regression.py).

With the rows Φ_j (m,) and the force y_j of joint j in each cell, weights a_j, and the share k that each cell keeps when
the next one comes,

    G_j ← k G_j + a_j Φ_j Φ_jᵀ      g_j ← k g_j + a_j Φ_j y_j
    P_c = Λ_c + Σ_j w_cj G_j        P_c x_c = Λ_c x̄_c + Σ_j w_cj g_j

for priors N(x̄_c, Λ_c⁻¹), c = 1 … C. In C if there is a compiler (normal_equations.c), else in numpy; results agree to
rounding.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.kernel import Kernel, kernel

Array = NDArray[np.float64]


class Solutions(NamedTuple):
    """x_c (C, m), ln det P_c (C,), and x_cᵀ G_j x_c (C, n). Overwritten by the next ones."""

    means: Array
    log_det: Array
    fitted: Array


def normal_equations(information: Array, pull: Array, joints: int, compiled: bool = True) -> NormalEquations:
    """Build NormalEquations. compiled: in C if there is a compiler."""
    library = kernel("adaptation", "normal_equations") if compiled else None
    if library is None:
        return NormalEquations(information, pull, joints)
    return CompiledNormalEquations(information, pull, joints, library)


class NormalEquations:
    """gram: G_j (n, m, m). moment: g_j (n, m).

    Arguments:
        information: Λ_c (C, m, m).
        pull: Λ_c x̄_c (C, m).
        joints: n.
    """

    def __init__(self, information: Array, pull: Array, joints: int) -> None:
        self._information, self._pull = information, pull
        size = pull.shape[1]
        self.gram, self.moment = np.zeros((joints, size, size)), np.zeros((joints, size))

    def forget(self) -> None:
        """Forget all cells."""
        self.gram[...], self.moment[...] = 0.0, 0.0

    def add(self, rows: Array, force: Array, weight: Array, keep: float) -> None:
        """Take in Φ (n, m), y (n,) and a (n,) of a cell. keep: k."""
        self.gram *= keep
        self.gram += (weight[:, None] * rows)[:, :, None] * rows[:, None, :]
        self.moment *= keep
        self.moment += (weight * force)[:, None] * rows

    def solve(self, precision: Array) -> Solutions:
        """Solutions with w_cj (C, n). Matrices that are not positive definite to rounding are solved as any other."""
        n = len(self.gram)
        matrices = (precision @ self.gram.reshape(n, -1)).reshape(self._information.shape) + self._information
        means = np.linalg.solve(matrices, (precision @ self.moment + self._pull)[:, :, None])[:, :, 0]
        fitted = np.einsum("ci,jik,ck->cj", means, self.gram, means, optimize=True)
        return Solutions(np.asarray(means), np.asarray(np.linalg.slogdet(matrices)[1]), np.asarray(fitted))


class CompiledNormalEquations(NormalEquations):
    """NormalEquations in C."""

    def __init__(self, information: Array, pull: Array, joints: int, library: Kernel) -> None:
        super().__init__(information, pull, joints)
        count, size = pull.shape
        self._rows, self._force, self._weight = np.zeros((joints, size)), np.zeros(joints), np.zeros(joints)
        self._precision = np.zeros((count, joints))
        self._solutions = Solutions(np.zeros((count, size)), np.zeros(count), np.zeros((count, joints)))
        self._struct = library.struct(
            "Equations",
            joints=joints, priors=count, size=size, information=information, pull=pull,
            rows=self._rows, force=self._force, weight=self._weight, precision=self._precision,
            gram=self.gram, moment=self.moment, **self._solutions._asdict(), scratch=np.zeros((size, size)),
        )  # fmt: skip
        self._self, pointer = ctypes.byref(self._struct), ctypes.c_void_p
        self._add = ctypes.CFUNCTYPE(None, pointer, ctypes.c_double)(("add_cell", library))
        self._solve = ctypes.CFUNCTYPE(ctypes.c_int, pointer)(("solve", library))

    def add(self, rows: Array, force: Array, weight: Array, keep: float) -> None:
        self._rows[...], self._force[...], self._weight[...] = rows, force, weight
        self._add(self._self, keep)

    def solve(self, precision: Array) -> Solutions:
        self._precision[...] = precision
        return self._solutions if self._solve(self._self) else super().solve(precision)
