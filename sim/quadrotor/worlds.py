# SPDX-License-Identifier: Apache-2.0
"""MuJoCo's own batch of simulations (mujoco/mjbatch.h), with a C function between two steps.

`mujoco.batch` does not offer such a function. Each simulation keeps its MjData from call to call, so a step continues
from the stages computed by the previous call.
"""

from __future__ import annotations

import copy
import ctypes
import weakref
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from mujoco import _batch
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError

INCLUDE = Path(mujoco.__file__).parent / "include"
"""Folder of MuJoCo's C headers."""

_MESSAGE = 1000


class _Config(ctypes.Structure):
    _fields_ = (("nthread", ctypes.c_int), ("persistent", ctypes.c_bool))


_Pointer, _Int, _Text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_SIGNATURES = {
    "mjb_makeBatch": (_Pointer, (_Pointer, _Int, ctypes.POINTER(_Config), _Text, _Int)),
    "mjb_deleteBatch": (None, (_Pointer,)),
    "mjb_stateComponent": (_Pointer, (_Pointer, _Int, ctypes.POINTER(_Int))),
    "mjb_nstate": (_Int, (_Pointer,)),
    "mjb_output": (_Pointer, (_Pointer, _Text, ctypes.POINTER(_Int), ctypes.POINTER(_Int))),
    "mjb_expand": (_Pointer, (_Pointer, _Text, ctypes.POINTER(_Int), ctypes.POINTER(_Int))),
    "mjb_setConst": (_Int, (_Pointer, _Pointer, _Int)),
    "mjb_reset": (_Int, (_Pointer, _Pointer, _Int, _Pointer, _Int)),
    "mjb_forward": (_Int, (_Pointer, _Pointer, _Int, _Int)),
    "mjb_step": (_Int, (_Pointer, _Pointer, _Int, _Int, _Int)),
    "mjb_apply": (_Int, (_Pointer, _Pointer, _Int, _Pointer, _Pointer, _Int)),
    "mjb_status": (ctypes.POINTER(_Int), (_Pointer,)),
    "mjb_error": (_Text, (_Pointer, _Int)),
    "mjb_getModel": (None, (_Pointer, _Int, _Pointer)),
    "mjb_getData": (None, (_Pointer, _Int, _Pointer)),
}


def _library() -> ctypes.CDLL:
    """The MuJoCo library of the Python bindings. Calls release Python's lock."""
    library = ctypes.CDLL(_batch.__file__)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_MUJOCO = _library()


def function_address(name: str) -> int:
    """Address of a MuJoCo function, for C code to call."""
    return ctypes.cast(getattr(_MUJOCO, name), ctypes.c_void_p).value or 0


class Worlds:
    """`count` simulations of a model, in the caller's thread.

    Returned arrays are live, (count, ...), and must not outlive this object.
    """

    def __init__(self, model: mujoco.MjModel, count: int) -> None:
        self.model, self.count = model, count
        message = ctypes.create_string_buffer(_MESSAGE)
        self._batch = _MUJOCO.mjb_makeBatch(model._address, count, ctypes.byref(_Config(1, True)), message, _MESSAGE)
        if not self._batch:
            raise MetaRLError(f"simulation: {message.value.decode()}")
        weakref.finalize(self, _MUJOCO.mjb_deleteBatch, self._batch)
        self._status = _MUJOCO.mjb_status(self._batch)

    def state(self, component: mujoco.mjtState) -> NDArray[np.float64]:
        """State (count, size) from which the next call starts; writable."""
        size = _Int()
        first = _MUJOCO.mjb_stateComponent(self._batch, int(component), ctypes.byref(size))
        return _view(first, np.float64, (self.count, size.value), 8 * _MUJOCO.mjb_nstate(self._batch))

    def output(self, name: str, dtype: Any = np.float64) -> NDArray[Any]:
        """Field (count, size) of MjData after the last call."""
        return self._field(_MUJOCO.mjb_output, name, dtype)

    def parameter(self, name: str) -> NDArray[np.float64]:
        """Field (count, ...) of MjModel, one value per simulation; call `set_const` after writing."""
        return self._field(_MUJOCO.mjb_expand, name, np.float64).reshape(self.count, *getattr(self.model, name).shape)

    def _field(self, find: Any, name: str, dtype: Any) -> NDArray[Any]:
        size, bytes_each = _Int(), _Int()
        first = find(self._batch, name.encode(), ctypes.byref(size), ctypes.byref(bytes_each))
        assert first and bytes_each.value == np.dtype(dtype).itemsize, name
        return _view(first, dtype, (self.count, size.value), bytes_each.value * size.value)

    def set_const(self) -> None:
        """Call mj_setConst."""
        self._check(_MUJOCO.mjb_setConst(self._batch, None, 0))

    def reset(self) -> None:
        """Reset to the model's defaults; computes nothing."""
        self._check(_MUJOCO.mjb_reset(self._batch, None, 0, None, int(mujoco.mjtStage.mjSTAGE_NONE)))

    def forward(self) -> None:
        """Compute everything that follows from positions and velocities."""
        self._check(_MUJOCO.mjb_forward(self._batch, None, 0, int(mujoco.mjtStage.mjSTAGE_VEL)))

    def step(self) -> None:
        """Call mj_step once, then `forward`."""
        self._check(_MUJOCO.mjb_step(self._batch, None, 0, 1, int(mujoco.mjtStage.mjSTAGE_VEL)))

    def apply(self, function: int, argument: int) -> None:
        """Call void function(const mjModel *, mjData *, int simulation, void *argument) on every simulation."""
        self._check(_MUJOCO.mjb_apply(self._batch, None, 0, function, argument, 1))

    def copy(self, index: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Copy model and state of one simulation."""
        model, data = copy.copy(self.model), mujoco.MjData(self.model)
        _MUJOCO.mjb_getModel(self._batch, index, model._address)
        _MUJOCO.mjb_getData(self._batch, index, data._address)
        return model, data

    def _check(self, failed: int) -> None:
        if failed:
            first = next(i for i in range(self.count) if self._status[i])
            raise MetaRLError(f"simulation {first}: {_MUJOCO.mjb_error(self._batch, first).decode()}")


def _view(first: int, dtype: Any, shape: tuple[int, int], stride: int) -> NDArray[Any]:
    """View rows that are `stride` bytes apart, starting at an address."""
    bytes_each = np.dtype(dtype).itemsize
    memory = (ctypes.c_byte * (stride * (shape[0] - 1) + bytes_each * shape[1])).from_address(first)
    return np.ndarray(shape, dtype, memory, strides=(stride, bytes_each))
