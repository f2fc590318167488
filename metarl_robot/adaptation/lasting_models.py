# SPDX-License-Identifier: Apache-2.0
"""Earlier models of a filter that lasted: a context that was valid before a change may be valid again after it."""

from __future__ import annotations

from collections import deque

from metarl_robot.adaptation.filter_algebra import Belief

LASTED_S = 1.0
"""A model has lasted if no change was detected for this time."""
COPIED_EVERY_S = 0.1
OLD_S = 0.2
"""Age of the copy of the present model, so that it does not contain a change that is just being detected."""
REMEMBERED = 3
"""Number of earlier models kept."""


class LastingModels:
    """The present lasting model, as it was OLD_S ago, and earlier ones.

    present: None after a change. earlier: the latest first.
    """

    def __init__(self) -> None:
        self.present: Belief | None = None
        self.earlier: tuple[Belief, ...] = ()
        self._steady_s = self._copied_s = 0.0
        self._copies: deque[Belief] = deque(maxlen=1 + round(OLD_S / COPIED_EVERY_S))

    @property
    def known(self) -> tuple[Belief, ...]:
        """The present lasting model, if any, and the earlier ones."""
        return self.earlier if self.present is None else (self.present, *self.earlier)

    def changed(self) -> None:
        """End the present model. One that did not last is kept only if no other has lasted."""
        ended = self.present
        if ended is None and self._copies and not self.earlier:
            ended = self._copies[0]
        if ended is not None:
            self.earlier = (ended, *self.earlier)[:REMEMBERED]
        self.present, self._steady_s, self._copied_s = None, 0.0, 0.0
        self._copies.clear()

    def returned(self, belief: Belief) -> None:
        """Make an earlier model the present one again."""
        self.changed()
        self.earlier = tuple(model for model in self.earlier if model is not belief)
        self.present = belief

    def steady(self, belief: Belief, dt: float) -> None:
        """Record another dt without a detected change."""
        self._steady_s += dt
        self._copied_s += dt
        if self._copied_s >= COPIED_EVERY_S:
            self._copied_s = 0.0
            self._copies.append(belief.copy())
            if self._steady_s >= LASTED_S:
                self.present = self._copies[0]
