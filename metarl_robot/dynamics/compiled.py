"""CasADi functions called from numpy without conversions: C code where there is a compiler, CasADi's own machine elsewhere.

Calls go through CasADi's function buffers: inputs are copied into owned arrays, outputs are owned arrays, nothing is allocated.
"""

from __future__ import annotations

from collections.abc import Mapping

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.compiler import compiled

Array = NDArray[np.float64]


class NumpyFunction:
    """One CasADi function, called `batch` knots at a time, on numpy arrays.

    An input with a column for each knot is (batch, n) here, one with a single column (n,); a matrix output (r, c) is
    (batch, r, c). Returned arrays are owned by this object and overwritten by the next call: copy what must last.
    Not to be called from two threads at once.
    """

    def __init__(self, function: ca.Function, batch: int = 1) -> None:
        self._function = function
        self._buffer, self._evaluate = function.buffer()
        self._inputs = [np.zeros((function.size2_in(i), function.size1_in(i))) for i in range(function.n_in())]
        self._outputs: list[Array] = []
        views: list[Array] = []
        for i, array in enumerate(self._inputs):
            self._buffer.set_arg(i, array.data)
        for i in range(function.n_out()):
            rows, columns = function.size1_out(i), function.size2_out(i) // batch
            store = np.zeros((batch, columns, rows))
            self._buffer.set_res(i, store.data)
            self._outputs.append(store)
            view = store[:, 0, :] if columns == 1 else store.transpose(0, 2, 1)
            views.append(view[0] if batch == 1 else view)
        self._views = tuple(views)

    def __call__(self, *arguments: Array) -> tuple[Array, ...]:
        for own, given in zip(self._inputs, arguments, strict=True):
            own[...] = given
        self._evaluate()
        return self._views


def mapped(name: str, function: ca.Function, count: int) -> ca.Function:
    """The function on `count` columns at once."""
    arguments = [ca.MX.sym(f"x{i}", function.size1_in(i), count) for i in range(function.n_in())]
    return ca.Function(name, arguments, function.map(count).call(arguments))


def in_chunks(function: NumpyFunction, width: int, *arguments: Array) -> list[Array]:
    """Call a function of `width` columns on (N, k) arrays, whatever N."""
    count = len(arguments[0])
    parts: list[list[Array]] = []
    for start in range(0, count, width):
        size = min(width, count - start)
        padded = [_padded(x[start : start + size], width) for x in arguments]
        parts.append([out[:size].copy() for out in function(*padded)])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _padded(rows: Array, width: int) -> Array:
    """The rows (k, n), and the last again up to (width, n)."""
    return rows if len(rows) == width else np.concatenate([rows, np.broadcast_to(rows[-1], (width - len(rows), rows.shape[1]))])


def compile_functions(functions: Mapping[str, ca.Function]) -> dict[str, ca.Function]:
    """Compile functions into one cached shared library; without a C compiler they come back as they are."""
    generator = ca.CodeGenerator("metarl_dynamics.c", {"verbose": False})
    for function in functions.values():
        generator.add(function)
    library = compiled(str(generator.dump()))
    if library is None:
        return dict(functions)
    return {name: ca.external(f.name(), str(library)) for name, f in functions.items()}
