# SPDX-License-Identifier: Apache-2.0
"""A trained prior for another number of parts that are alike, such as the rotors of an octorotor.

The m trained parts are taken as exchangeable: each has the mean variance v, each two of them the mean covariance c. So
have n parts. Their mean has the variance c + (v - c) / n, and keeps its correlation with every other entry of the
context: with b the mean covariance of the trained parts with another entry, that of each new part is

    b √((c + (v - c) / n) / (c + (v - c) / m))

so that the covariance stays positive definite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import FeatureGroup

Array = NDArray[np.float64]


def with_alike(
    names: Sequence[str], mean: Array, covariance: Array, groups: Sequence[FeatureGroup]
) -> tuple[list[str], Array, Array]:
    """A prior over named entries (k,), in which groups of alike parts have the number of their parts."""
    known = list(names)
    for group in groups:
        trained = [i for i, name in enumerate(known) if _stem(name) == _stem(group.names[0])]
        if group.alike and trained and not set(group.names) <= set(known):
            known, mean, covariance = _renumbered(known, mean, covariance, trained, group.names)
    return known, mean, covariance


def _stem(name: str) -> str:
    """A name without the number of its part."""
    return "".join(letter for letter in name if not letter.isdigit())


def _renumbered(
    known: list[str], mean: Array, covariance: Array, trained: list[int], names: tuple[str, ...]
) -> tuple[list[str], Array, Array]:
    others, m, n = [i for i in range(len(known)) if i not in trained], len(trained), len(names)
    block = covariance[np.ix_(trained, trained)]
    variance = float(np.trace(block)) / m
    common = max((float(block.sum()) - m * variance) / (m * (m - 1)), 0.0)
    own = variance - common
    shrunk = np.sqrt((common + own / n) / (float(block.sum()) / m**2))
    beside = shrunk * covariance[np.ix_(others, trained)].mean(axis=1)
    inner = np.full((n, n), common) + own * np.eye(n)
    joint = np.block(
        [[covariance[np.ix_(others, others)], np.tile(beside[:, None], n)], [np.tile(beside, (n, 1)), inner]]
    )
    means = np.concatenate([mean[others], np.full(n, mean[trained].mean())])
    return [*(known[i] for i in others), *names], means, joint
