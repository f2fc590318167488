# SPDX-License-Identifier: Apache-2.0
"""Names and shapes of a Gaussian policy's parameters; without torch."""

from __future__ import annotations

from collections.abc import Sequence


def shapes(observations: int, actions: int, hidden: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Name and shape of each parameter: weights (out, in) and biases (out,) of the layers, then log_std (actions,)."""
    widths = (observations, *hidden, actions)
    found: dict[str, tuple[int, ...]] = {}
    for i, (columns, rows) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        found |= {f"network.{i}.weight": (rows, columns), f"network.{i}.bias": (rows,)}
    return {**found, "log_std": (actions,)}
