"""CasADi functions called from numpy without conversions: C code where there is a compiler, CasADi's own machine elsewhere.

Generated C is compiled once and cached by content hash in the user's cache folder (`METARL_CACHE` overrides it). Calls go
through CasADi's function buffers: inputs are copied into owned arrays, outputs are owned arrays, nothing is allocated.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import casadi as ca
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FLAGS = ("-O2", "-fPIC", "-shared")
_warned = False


def cache_folder() -> Path:
    """Where compiled code is kept: $METARL_CACHE, else $XDG_CACHE_HOME/metarl_robot, else ~/.cache/metarl_robot."""
    if "METARL_CACHE" in os.environ:
        return Path(os.environ["METARL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "metarl_robot"


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
    """Compile functions into one cached shared library; without a C compiler they come back as they are, with a warning."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        _warn_once("no C compiler found (tried $CC, cc, gcc): using CasADi's virtual machine, same results, slower")
        return dict(functions)
    source = _generate(functions)
    try:
        library = _compile(source, compiler)
    except (OSError, subprocess.CalledProcessError) as error:
        _warn_once(f"compiling the generated dynamics failed ({error}): using CasADi's virtual machine, same results, slower")
        return dict(functions)
    return {name: ca.external(f.name(), str(library)) for name, f in functions.items()}


def _warn_once(message: str) -> None:
    global _warned
    if not _warned:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
        _warned = True


def _generate(functions: Mapping[str, ca.Function]) -> str:
    generator = ca.CodeGenerator("metarl_dynamics.c", {"verbose": False})
    for function in functions.values():
        generator.add(function)
    return str(generator.dump())


def _compile(source: str, compiler: str) -> Path:
    key = hashlib.sha256("\n".join([source, *_FLAGS, compiler, platform.machine(), sys.platform]).encode()).hexdigest()[:24]
    folder = cache_folder()
    library = folder / f"{key}.so"
    if library.is_file():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        c_file, built = Path(scratch) / "dynamics.c", Path(scratch) / "dynamics.so"
        c_file.write_text(source)
        subprocess.run([compiler, *_FLAGS, str(c_file), "-o", str(built), "-lm"], check=True, capture_output=True)
        built.replace(library)
    return library
