# SPDX-License-Identifier: Apache-2.0
"""Past commands, and the latency after which they act."""

from __future__ import annotations

import ctypes
from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream.library import POINTER, stream_library
from metarl_robot.compile.kernel import Kernel, address

Array = NDArray[np.float64]

LONGEST_LATENCY, LATENCIES = 6.0, 19
"""The grid has LATENCIES latencies from zero to LONGEST_LATENCY periods."""
COMMANDS = 9
"""Number of past commands kept: enough for the longest latency and late samples."""
UNUSUAL = 1.0
"""Prior log-probability lost for each of the robot's own periods of latency beyond two.

With periods of slow states instead, of 15 ms, a latency of 24 ms was expected, and most starts were 3 to 4 times as far
off.
"""
LATENCY_MEMORY_S = 2.0


def command_history(
    effort: Array,
    period_s: float,
    latency_s: float | None = None,
    earlier_std: Array | None = None,
    compiled: bool = True,
    own_period_s: float | None = None,
) -> CommandHistory:
    """Build a CommandHistory. compiled: in C if there is a compiler."""
    library = stream_library(compiled)
    if library is None:
        return CommandHistory(effort, period_s, latency_s, earlier_std, own_period_s)
    return CompiledCommandHistory(effort, period_s, library, latency_s, earlier_std, own_period_s)


class CommandHistory:
    """Past commands and the latency after which they act, learned from the robot's motion.

    A bank of models with different latencies (Magill 1965). Each latency of a grid predicts the motion; those that
    predict better gain weight.

    Arguments:
        effort: (n,) the first command, taken to have acted forever.
        period_s: usual time from command to command.
        latency_s: where it is known, the bank's only latency; None: it is learned.
        earlier_std: (n,) standard deviation of the command before the first one; it acts until the first one takes
            effect. None: that was the first command, too.
        own_period_s: time from command to command of the robot's own control loop, where states come more slowly: its
            latency does not grow with their period. None: period_s.
    """

    def __init__(
        self,
        effort: Array,
        period_s: float,
        latency_s: float | None = None,
        earlier_std: Array | None = None,
        own_period_s: float | None = None,
    ) -> None:
        self._past: Array = np.tile(effort, (1 + COMMANDS, 1))  # the latest first, after the one just issued
        self._held_s: Array = np.full(COMMANDS, period_s)
        self._earlier = np.array([0.0] + [1.0] * COMMANDS)  # of `_past`: 1 for a command before the first one
        self._earlier_std: Array = np.zeros(len(effort)) if earlier_std is None else earlier_std.copy()
        self._period_s = period_s
        grid = period_s * np.linspace(0.0, LONGEST_LATENCY, LATENCIES)
        self._latency: Array = grid if latency_s is None else np.array([latency_s])
        own_s = period_s if own_period_s is None else min(own_period_s, period_s)
        self._prior: Array = -UNUSUAL * np.maximum(self._latency / own_s - 2.0, 0.0)
        self._evidence = self._prior.copy()
        count = len(self._latency)
        self._candidates, self._acting, self._effort_std = (
            np.zeros((count, len(effort))),
            effort.copy(),
            np.zeros(len(effort)),
        )
        self._weights = np.empty(count)
        self._weigh()

    @property
    def last_two(self) -> Array:
        """The last two commands (2, n), the latest first."""
        return self._past[1:3]

    @property
    def mean(self) -> Array:
        """The last mean (n,) of `acting`."""
        return self._acting

    @property
    def latency_s(self) -> float:
        """Mean latency, from the stamp of a state to the effect of its command."""
        return float(self._weights @ self._latency)

    @property
    def latency_std_s(self) -> float:
        """Standard deviation of the latency."""
        if len(self._latency) == 1:
            return 0.0
        away = self._latency - self.latency_s
        return float(np.sqrt(self._weights @ (away * away)))

    def update(self, effort: Array, dt: float) -> None:
        """Record a command (n,) that is held for dt until the next one."""
        self._past[0] = effort
        self._issued(dt)

    def _issued(self, dt: float) -> None:
        self._past[1:] = self._past[:-1]
        self._held_s[1:] = self._held_s[:-1]
        self._earlier[1:] = self._earlier[:-1]
        self._held_s[0] = dt

    def forget(self, std: Array) -> None:
        """Take the commands so far to be known only within this standard deviation (n,)."""
        self._earlier[1:], self._earlier_std[:] = 1.0, std

    def acting(self, effort: Array, dt: float) -> tuple[Array, Array]:
        """Mean and standard deviation (n,) of the mean effort over the last dt; `effort` was issued at its start.

        If a sample is late, its command may have been late, too. Overwritten by the next call.
        """
        self._past[0] = effort
        self._act(dt)
        return self._acting, self._effort_std

    def _act(self, dt: float) -> None:
        late = max(0.0, dt - self._period_s) * np.array([0.0, 0.5, 1.0])
        latency = (self._latency[:, None] + late)[:, :, None]
        issued = np.concatenate([[0.0], -np.cumsum(self._held_s)])
        replaced = np.concatenate([[np.inf], issued[:-1]])
        issued[-1] = -np.inf
        shares = np.maximum(np.minimum(dt - latency, replaced) - np.maximum(-latency, issued), 0.0) / dt
        efforts = shares @ self._past
        self._candidates[:] = efforts.mean(axis=1)
        self._acting[:] = self._weights @ self._candidates
        unknown = self._weights @ np.square(shares @ self._earlier).mean(axis=1)
        by_latency = self._weights @ np.square(efforts - self._acting).mean(axis=1)
        self._effort_std[:] = np.sqrt(by_latency + unknown * np.square(self._earlier_std))

    def learn(self, white: Array, response: Array, dt: float) -> None:
        """Update the weights of the latencies.

        Arguments:
            white: (m,) whitened innovation of the last prediction, which used the mean effort from `acting`.
                Contiguous.
            response: (m, n) decrease of that innovation per unit of effort. Contiguous.
            dt: the interval of that prediction.
        """
        if len(self._latency) > 1:
            self._learn(white, response, exp(-dt / LATENCY_MEMORY_S))

    def _learn(self, white: Array, response: Array, keep: float) -> None:
        left = white - (self._candidates - self._acting) @ response.T
        likelihood = -0.5 * np.sum(left**2, axis=1)
        self._evidence[:] = keep * self._evidence + (1.0 - keep) * self._prior + likelihood - likelihood.max()
        self._weigh()

    def _weigh(self) -> None:
        """Compute the weights, smoothed over neighbours: the true latency lies between grid values."""
        likely = np.exp(self._evidence - self._evidence.max())
        weights = 0.5 * likely
        weights[1:] += 0.25 * likely[:-1]
        weights[:-1] += 0.25 * likely[1:]
        self._weights[:] = weights / weights.sum()


class CompiledCommandHistory(CommandHistory):
    """CommandHistory in C (stream.c)."""

    def __init__(
        self,
        effort: Array,
        period_s: float,
        library: Kernel,
        latency_s: float | None = None,
        earlier_std: Array | None = None,
        own_period_s: float | None = None,
    ) -> None:
        super().__init__(effort, period_s, latency_s, earlier_std, own_period_s)
        count = len(self._latency)
        self._scratch = np.zeros((count, 3, len(effort)))
        self._struct = library.struct(
            "History",
            nu=len(effort), latencies=count, commands=1 + COMMANDS, period=float(period_s),
            latency=self._latency, prior=self._prior, past=self._past, held=self._held_s,
            earlier=self._earlier, earlier_std=self._earlier_std, evidence=self._evidence, weights=self._weights,
            candidates=self._candidates, acting=self._acting, effort_std=self._effort_std, scratch=self._scratch,
        )  # fmt: skip
        self._self, of_time = ctypes.byref(self._struct), ctypes.CFUNCTYPE(None, POINTER, ctypes.c_double)
        self._in_c_act, self._in_c_issued = of_time(("acting", library)), of_time(("issued", library))
        self._in_c_learn = ctypes.CFUNCTYPE(None, *3 * (POINTER,), ctypes.c_long, ctypes.c_double)(("learn", library))

    def _act(self, dt: float) -> None:
        self._in_c_act(self._self, dt)

    def _issued(self, dt: float) -> None:
        self._in_c_issued(self._self, dt)

    def _learn(self, white: Array, response: Array, keep: float) -> None:
        self._in_c_learn(self._self, address(white), address(response), len(white), keep)
