# SPDX-License-Identifier: Apache-2.0
"""The networks of network.py in C (network.c), in single precision.

Values and Jacobians are within 1e-5 of their largest entry.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.network import Network, Perceptron
from metarl_robot.compile.kernel import Kernel, kernel
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.core.errors import CheckpointError

Array = NDArray[np.float64]

ROWS, PAD, REGISTER_BYTES = 7, 16, 64
"""As in network.c, with the largest REGISTER_BYTES there."""


def fast_network(weights: Sequence[Array], biases: Sequence[Array]) -> Network:
    """Build a network: in C if there is a compiler, else in numpy.

    weights [(out, in), …], biases [(out,), …].
    """
    library = kernel("adaptation", "network")
    return Perceptron(weights, biases) if library is None else CompiledPerceptron(library, weights, biases)


def checkpoint_network(checkpoint: Checkpoint | None) -> Network:
    """The checkpoint's network: tensors network.<i>.weight and network.<i>.bias.

    Raises:
        CheckpointError: no checkpoint is given.
    """
    if checkpoint is None:
        raise CheckpointError("learned features need trained weights: give a checkpoint, or leave the group out")
    layers = range(sum(name.endswith(".weight") for name in checkpoint.tensors))
    weights = [checkpoint.tensors[f"network.{i}.weight"] for i in layers]
    return fast_network(weights, [checkpoint.tensors[f"network.{i}.bias"] for i in layers])


class CompiledPerceptron:
    """Network in C: tanh between layers, linear at the end.

    Returned arrays belong to the caller. Not to be called from two threads at once.
    """

    def __init__(self, library: Kernel, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        self._library = library
        sizes = (weights[0].shape[1], *(len(bias) for bias in biases))
        self.size = sizes[-1]
        self._weights = _Weights(library, sizes)
        self._calls: dict[tuple[int, int], _Call] = {}
        self.load(weights, biases)

    def load(self, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        given = [[np.ascontiguousarray(array, dtype=np.float64) for array in arrays] for arrays in (weights, biases)]
        self._library.metarl_load(ctypes.byref(self._weights.struct), *map(_addresses, given))

    def outputs(self, x: Array) -> Array:
        call = self._call(len(x), self.size)
        call.x[:] = x
        self._library.metarl_outputs(call.work)
        return call.y.astype(np.float64)

    def contracted(self, x: Array, z: Array) -> Array:
        call = self._call(len(x), len(z))
        call.x[:], call.z[:] = x, z
        self._library.metarl_contracted(call.work)
        return call.value.copy()

    def design(self, q: Array, v: Array, velocity_limit: Array) -> Array:
        call = self._call(len(q), self.size)
        call.q[:], call.v[:], call.velocity_limit[:] = q, v, velocity_limit
        self._library.metarl_design(call.work)
        return call.y.astype(np.float64)

    def value(self, q: Array, v: Array, velocity_limit: Array, z: Array) -> Array:
        call = self._call(len(q), len(z))
        call.q[:], call.v[:], call.velocity_limit[:], call.z[:] = q, v, velocity_limit, z
        self._library.metarl_value(call.work)
        return call.value.copy()

    def value_and_jacobian(self, q: Array, v: Array, velocity_limit: Array, z: Array) -> tuple[Array, Array]:
        call = self._call(len(q), len(z))
        call.q[:], call.v[:], call.velocity_limit[:], call.z[:] = q, v, velocity_limit, z
        self._library.metarl_value_and_jacobian(call.work)
        return call.value.copy(), call.jacobian.copy()

    def _call(self, knots: int, contexts: int) -> _Call:
        call = self._calls.get((knots, contexts))
        if call is None:
            call = self._calls[knots, contexts] = _Call(self._library, self._weights, knots, contexts)
        return call


class _Weights:
    """Network of network.c and the arrays that it points to.

    sizes: number of inputs, then of each layer's outputs.
    """

    def __init__(self, library: Kernel, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        layers = list(zip(sizes[:-1], sizes[1:], strict=True))
        self._arrays = (
            [_zeros((_padded(out), entering), np.float32) for entering, out in layers],
            [_zeros((_padded(entering), out), np.float32) for entering, out in layers],
            [_zeros((_padded(out),), np.float32) for out in sizes[1:]],
        )
        forward, backward, biases = map(_addresses, self._arrays)
        direct, crossed = (_zeros((_padded(sizes[0]), sizes[1]), np.float32) for _ in range(2))
        self.struct = library.struct(
            "Network",
            layers=len(layers), sizes=np.array(sizes, dtype=np.int_), forward=forward, backward=backward, biases=biases,
            direct=direct, crossed=crossed, head=_zeros((sizes[-1], sizes[-2]), np.float64),
        )  # fmt: skip


class _Call:
    """Work of network.c for N knots and K context entries, and the arrays that it points to."""

    def __init__(self, library: Kernel, weights: _Weights, knots: int, contexts: int) -> None:
        sizes, joints, outputs = weights.sizes, weights.sizes[0] // 3, weights.sizes[-1] // contexts
        widest = _padded(max(sizes))
        activations = [_zeros((knots + ROWS, _padded(size)), np.float32) for size in sizes]
        self.x, self.y = activations[0][:knots, : sizes[0]], activations[-1][:knots, : sizes[-1]]
        self.q, self.v, self.velocity_limit = np.zeros((knots, joints)), np.zeros((knots, joints)), np.zeros(joints)
        self.z = np.zeros(contexts)
        self.value, self.jacobian = np.zeros((knots, outputs)), np.zeros((knots, outputs, 3 * joints))
        rows, spare = (_zeros((knots * outputs + ROWS, widest), np.float32) for _ in range(2))
        self._kept = weights, activations
        struct = library.struct(
            "Work",
            network=weights.struct, knots=knots, joints=joints, contexts=contexts, outputs=outputs,
            activations=_addresses(activations),
            q=self.q, v=self.v, velocity_limit=self.velocity_limit, context=self.z,
            row=_zeros((widest,), np.float64), head=_zeros((outputs, widest), np.float32), rows=rows, spare=spare,
            slopes=_zeros((widest,), np.float32), folded=_zeros((_padded(2 * joints), sizes[1]), np.float32),
            values=self.value, jacobian=self.jacobian,
        )  # fmt: skip
        self.work = ctypes.byref(struct)


def _address(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _addresses(arrays: Sequence[NDArray[Any]]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*map(_address, arrays))


def _padded(size: int) -> int:
    return -(-size // PAD) * PAD


def _zeros(shape: tuple[int, ...], dtype: type[np.floating]) -> NDArray[Any]:
    """Zeros, aligned to a vector register."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    store = np.zeros(size + REGISTER_BYTES, dtype=np.uint8)
    start = -store.ctypes.data % REGISTER_BYTES
    return store[start : start + size].view(dtype).reshape(shape)
