# SPDX-License-Identifier: Apache-2.0
"""CasADi functions called from numpy without conversions.

They run as C code if there is a compiler, else in CasADi's virtual machine. Calls use CasADi's function buffers:
inputs are copied into owned arrays, outputs are owned arrays, and no memory is allocated.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiler import all_compiled

Array = NDArray[np.float64]


class NumpyFunction:
    """One CasADi function, called for `batch` knots at a time, on numpy arrays.

    An input with one column per knot is (batch, n) here, an input with a single column is (n,). A matrix output (r,
    c) is (batch, r, c). This object owns the returned arrays, and the next call overwrites them: copy them to keep
    them. Not to be called from two threads at once.
    """

    def __init__(self, function: ca.Function, batch: int = 1) -> None:
        self._function = function
        self._buffer, self._evaluate = function.buffer()
        self._inputs = [np.zeros((function.size2_in(i), function.size1_in(i))) for i in range(function.n_in())]
        self._outputs: list[Array] = []
        views: list[Array] = []
        for i, array in enumerate(self._inputs):
            self._buffer.set_arg(i, array.data)
        self._arguments = [array[0] if len(array) == 1 else array for array in self._inputs]
        for i in range(function.n_out()):
            rows, columns = function.size1_out(i), function.size2_out(i) // batch
            store = np.zeros((batch, columns, rows))
            self._buffer.set_res(i, store.data)
            self._outputs.append(store)
            view = store[:, 0, :] if columns == 1 else store.transpose(0, 2, 1)
            views.append(view[0] if batch == 1 else view)
        self._views = tuple(views)

    def __call__(self, *arguments: Array) -> tuple[Array, ...]:
        for own, given in zip(self._arguments, arguments, strict=True):
            own[...] = given
        self._evaluate()
        return self._views


def compile_functions(functions: Mapping[str, ca.Function]) -> dict[str, ca.Function]:
    """Compile functions into cached shared libraries; without a C compiler, return them unchanged."""
    libraries = all_compiled([_code(f) for f in functions.values()], straight=True)
    pairs = zip(functions.items(), libraries, strict=True)
    return {name: f if library is None else ca.external(f.name(), str(library)) for (name, f), library in pairs}


@lru_cache(maxsize=64)
def _code(function: ca.Function) -> str:
    generator = ca.CodeGenerator("metarl_dynamics.c", {"verbose": False})
    generator.add(function)
    return str(generator.dump())
