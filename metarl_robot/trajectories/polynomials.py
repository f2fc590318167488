# SPDX-License-Identifier: Apache-2.0
"""Piecewise polynomials and their derivatives at any times.

On a piece that begins at t_0 and lasts h, with x = (t - t_0) / h, the derivative of order k is sum_p c_p p! / (p -
k)! h^-k x^(p - k). All but the powers of x is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def falling(power: Array | NDArray[np.int_], order: int) -> Array:
    """Factor of a power's derivative: power (power - 1) ... (power - order + 1)."""
    out = np.ones(np.shape(power))
    for k in range(order):
        out = out * (power - k)
    return out


@cache
def _factors(size: int, highest: int) -> Array:
    """Factors (highest + 1, size) of the powers' derivatives."""
    return np.array([falling(np.arange(size), k) for k in range(highest + 1)])


class _Pieces(NamedTuple):
    """The K pieces, and a constant piece before and after them.

    ends: (K + 1,) [s] of all but the last. starts, lengths: (K + 2,) [s]. powers: (P,).
    """

    ends: Array
    starts: Array
    lengths: Array
    powers: NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class Polynomials:
    """Piecewise polynomial of n outputs, constant before its first knot and after its last.

    knots: (K + 1,) increasing [s].
    coefficients: (K, P, n), power i of the elapsed fraction of the piece's time.
    """

    knots: Array
    coefficients: Array

    def derivatives(self, times: Array, highest: int) -> Array:
        """Value and derivatives (highest + 1, N, n) at times (N,) [s]."""
        if highest not in self._terms:
            self._terms[highest] = self._terms_up_to(highest)
        ends, starts, lengths, powers = self._pieces
        piece = ends.searchsorted(times, side="right")
        share = (times - starts[piece]) / lengths[piece]
        out = share[:, None, None] ** powers @ self._terms[highest].take(piece, axis=0)
        return out.reshape(len(times), highest + 1, -1).transpose(1, 0, 2)

    @cached_property
    def _pieces(self) -> _Pieces:
        ends = np.append(self.knots[:-1], np.nextafter(self.knots[-1], np.inf))  # the last knot is on the last piece
        lengths = np.concatenate([[np.inf], np.diff(self.knots), [np.inf]])  # infinite: a constant piece never advances
        return _Pieces(
            ends, np.concatenate([self.knots[:1], self.knots]), lengths, np.arange(self.coefficients.shape[1])
        )

    @cached_property
    def _terms(self) -> dict[int, Array]:
        """Terms for each highest derivative: (K + 2, P, (highest + 1) n), by power.

        The columns are the values of all outputs, then their first derivatives, and so on.
        """
        return {}

    def _terms_up_to(self, highest: int) -> Array:
        count, size, outputs = self.coefficients.shape
        factors, h = _factors(size, highest), np.diff(self.knots)[:, None, None]
        terms = np.zeros((count + 2, size, highest + 1, outputs))
        terms[0, 0, 0], terms[-1, 0, 0] = self.coefficients[0, 0], self.coefficients[-1].sum(axis=0)
        for k in range(highest + 1):
            terms[1:-1, : size - k, k] = (factors[k][:, None] * self.coefficients / h**k)[:, k:]
        return terms.reshape(count + 2, size, -1)
