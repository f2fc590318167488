# SPDX-License-Identifier: Apache-2.0
"""Suites by name, their kinds of run, and random numbers that two suites never share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np

from metarl_robot.core.errors import MetaRLError, UnknownNameError

Draw = TypeVar("Draw")

# First word of the entropy of every draw; it separates the suites' draws. Never renumber.
_STREAMS = {"train": 1, "heldout": 2, "extrapolation": 3, "nominal": 4}
_STREAMS |= {"mismatch": 5, "friction": 6, "sensors": 7, "long": 8, "contact": 9, "overload": 10, "upset": 11}
_STREAMS |= {"obstacles": 12, "surfaces": 13, "laps": 14}


def stream(suite_name: str, *words: int) -> np.random.Generator:
    """Random numbers of one suite; two suites never share a seed. Raises UnknownNameError."""
    if suite_name not in _STREAMS:
        raise UnknownNameError("suite", suite_name, _STREAMS)
    return np.random.default_rng([_STREAMS[suite_name], *words])


class SuiteTable(Generic[Draw]):
    """Table of suites: suite -> kind of run -> function that draws it.

    The order of kinds is part of the seeds: add new ones at the end.
    """

    def __init__(self, suites: Mapping[str, Mapping[str, Draw]]) -> None:
        self._suites = suites

    def names(self) -> tuple[str, ...]:
        """Names of all suites."""
        return tuple(self._suites)

    def kinds(self, suite_name: str) -> tuple[str, ...]:
        """The kinds of run in a suite. Raises UnknownNameError."""
        if suite_name not in self._suites:
            raise UnknownNameError("suite", suite_name, self._suites)
        return tuple(self._suites[suite_name])

    def pick(self, suite_name: str, kind: str, seed: int) -> tuple[Draw, np.random.Generator]:
        """Return the function that draws runs of a kind, and the random numbers of run `seed`.

        Raises:
            UnknownNameError: no such suite or kind.
            MetaRLError: a negative seed.
        """
        kinds = self.kinds(suite_name)
        if kind not in kinds:
            raise UnknownNameError(f"scenario of suite '{suite_name}'", kind, kinds)
        if seed < 0:
            raise MetaRLError(f"seed: must be an integer >= 0; given {seed}")
        return self._suites[suite_name][kind], stream(suite_name, seed, kinds.index(kind))
