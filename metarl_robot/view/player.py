# SPDX-License-Identifier: Apache-2.0
"""Plays recorded runs on the page: a slider for the time, play and pause, speed, and the run to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from time import monotonic
from typing import Any, NamedTuple

import viser

from metarl_robot.view.moment import Moment
from metarl_robot.view.page import Page

_HZ = 20.0
_SPEEDS = ("0.1", "0.25", "0.5", "1", "2", "5")


class Recorded(NamedTuple):
    """A run from begin_s to end_s; at: its moment at a time."""

    begin_s: float
    end_s: float
    at: Callable[[float], Moment]


class Player:
    """Plays runs by name, in a loop."""

    def __init__(self, server: viser.ViserServer, page: Page, runs: Mapping[str, Recorded]) -> None:
        self._page, self._runs = page, runs
        first = next(iter(runs.values()))
        with server.gui.add_folder("Recording"):
            self._which = server.gui.add_dropdown("run", tuple(runs))
            self._time: Any = server.gui.add_slider("time [s]", first.begin_s, first.end_s, 0.01, first.begin_s)
            self._playing = server.gui.add_checkbox("play", True)
            self._speed = server.gui.add_dropdown("speed", _SPEEDS, initial_value="1")
        self._which.on_update(lambda _: self._changed())

    def _changed(self) -> None:
        run = self._runs[self._which.value]
        self._time.max, self._time.min = run.end_s, run.begin_s

    def play(self, stop: Event) -> None:
        """Play until `stop`."""
        before_s = monotonic()
        while not stop.is_set():
            now_s = monotonic()
            run = self._runs[self._which.value]
            if self._playing.value:
                time_s = self._time.value + (now_s - before_s) * float(self._speed.value)
                self._time.value = run.begin_s if time_s > run.end_s else time_s
            before_s = now_s
            self._page.show(run.at(min(max(self._time.value, run.begin_s), run.end_s)))
            stop.wait(1.0 / _HZ)
