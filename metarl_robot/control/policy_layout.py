# SPDX-License-Identifier: Apache-2.0
"""Names and shapes of a policy's parameters."""

from __future__ import annotations

from collections.abc import Sequence

Shapes = dict[str, tuple[int, ...]]

RECURRENT = ("rl2",)
"""Algorithms whose policies keep a recurrent state; those of all others are perceptrons."""


def shapes_of(algo: str, observations: int, actions: int, hidden: Sequence[int]) -> Shapes:
    """Name and shape of each parameter of a policy that an algorithm has trained."""
    return (recurrent_shapes if algo in RECURRENT else shapes)(observations, actions, hidden)


def shapes(observations: int, actions: int, hidden: Sequence[int]) -> Shapes:
    """A perceptron: weights (out, in) and biases (out,) of the layers, then log_std (actions,)."""
    return {**_layers("network", (observations, *hidden, actions)), "log_std": (actions,)}


def recurrent_inputs(observations: int, actions: int) -> int:
    """Number of inputs of a recurrent policy: observation, last action, last reward, whether an episode begins."""
    return observations + actions + 2


def recurrent_shapes(observations: int, actions: int, hidden: Sequence[int]) -> Shapes:
    """A recurrent policy: layers of all but the last width, a gated recurrent unit of the last, and two linear heads.

    The unit's weights hold those of its reset gate, update gate and candidate, in this order.
    """
    *widths, size = (recurrent_inputs(observations, actions), *hidden)
    return {
        **_layers("encoder", widths),
        "gru.weight_ih_l0": (3 * size, widths[-1]),
        "gru.weight_hh_l0": (3 * size, size),
        "gru.bias_ih_l0": (3 * size,),
        "gru.bias_hh_l0": (3 * size,),
        "action.weight": (actions, size),
        "action.bias": (actions,),
        "value.weight": (1, size),
        "value.bias": (1,),
        "log_std": (actions,),
    }


def _layers(name: str, widths: Sequence[int]) -> Shapes:
    found: Shapes = {}
    for i, (columns, rows) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        found |= {f"{name}.{i}.weight": (rows, columns), f"{name}.{i}.bias": (rows,)}
    return found
