# SPDX-License-Identifier: Apache-2.0
"""One expression at all knots of a plan in one call: each knot is a lane of the processor's vector unit.

A CasADi function of scalars is a list of elementary operations. Each becomes a C statement for eight knots at once,
with the vector extensions of GCC and Clang; the compiler splits them if the processor's vectors are shorter. A call
costs about as much as two or three single knots. Without a C compiler, CasADi's virtual machine evaluates one knot
after the other, with the same results but slower.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.compiler import all_compiled

Array = NDArray[np.float64]

LANES = 8
_FEW, _MANY = 24, 192
"""Rows per call of `AnyNumber`: about the knots of a plan, and a larger number for less overhead."""
_PART = 8000
"""Maximum number of statements in a C function."""
_ARGUMENTS = "const double **in, double **out, long width"

_BINARY = {ca.OP_ADD: "+", ca.OP_SUB: "-", ca.OP_MUL: "*", ca.OP_DIV: "/"}
_UNARY = {
    ca.OP_ASSIGN: "{0}",
    ca.OP_NEG: "-{0}",
    ca.OP_SQ: "{0} * {0}",
    ca.OP_TWICE: "{0} + {0}",
    ca.OP_INV: "1.0 / {0}",
}
_CALLS = {
    ca.OP_SQRT: "sqrt", ca.OP_SIN: "sin", ca.OP_COS: "cos", ca.OP_EXP: "exp", ca.OP_TANH: "tanh", ca.OP_FABS: "fabs",
    ca.OP_ACOS: "acos", ca.OP_ASIN: "asin", ca.OP_ATAN: "atan", ca.OP_LOG: "log", ca.OP_SIGN: "sign",
    ca.OP_NOT: "negation",
}  # fmt: skip
_CALLS_OF_TWO = {
    ca.OP_ATAN2: "atan2", ca.OP_FMIN: "fmin", ca.OP_FMAX: "fmax", ca.OP_LT: "less", ca.OP_LE: "at_most",
    ca.OP_EQ: "equal",
    ca.OP_IF_ELSE_ZERO: "where",
}  # fmt: skip
_HEAD = f"""#include <math.h>
#define LANES {LANES}
typedef double lanes __attribute__((vector_size(8 * LANES), aligned(8), may_alias));
#define EACH(name) static inline lanes name##_each(lanes x) \\
    {{ for (int i = 0; i < LANES; ++i) x[i] = name(x[i]); return x; }}
#define EACH2(name) \\
    static inline lanes name##_each(lanes x, lanes y) \\
    {{ for (int i = 0; i < LANES; ++i) x[i] = name(x[i], y[i]); return x; }}
static inline double sign(double x) {{ return (x > 0.0) - (x < 0.0); }}
static inline double negation(double x) {{ return x == 0.0; }}
static inline double less(double x, double y) {{ return x < y; }}
static inline double at_most(double x, double y) {{ return x <= y; }}
static inline double equal(double x, double y) {{ return x == y; }}
static inline double where(double condition, double x) {{ return condition != 0.0 ? x : 0.0; }}
static inline lanes all(double x) {{ return (lanes){{}} + x; }}
static inline lanes at(const double *x) {{ return *(const lanes *)x; }}
"""


class Knots(NamedTuple):
    """A function of scalars, its number of knots, and the inputs shared by all knots."""

    function: ca.Function
    number: int
    shared: tuple[int, ...] = ()


class KnotFunction:
    """A function at its knots, on numpy arrays.

    An input is (count, n), or (n,) if shared. A matrix output (r, c) is (count, r, c), a column is (count, r). With
    fewer rows, it computes those, and the other results are meaningless. This object owns the returned arrays, and
    the next call overwrites them: copy them to keep them. Not to be called from two threads at once.
    """

    def __init__(self, knots: Knots, library: Path | None) -> None:
        function, count = knots.function, knots.number
        width = _padded(count)
        sizes = [function.size1_in(i) for i in range(function.n_in())]
        self._inputs = [np.zeros(n) if i in knots.shared else np.zeros((n, width)) for i, n in enumerate(sizes)]
        self._outputs = [
            np.zeros((function.size2_out(i), function.size1_out(i), width)) for i in range(function.n_out())
        ]
        self._targets = [x if x.ndim == 1 else x[:, :count].T for x in self._inputs]
        self._results = tuple(
            x[0, :, :count].T if len(x) == 1 else x[:, :, :count].transpose(2, 1, 0) for x in self._outputs
        )
        addresses = (
            (ctypes.c_void_p * len(group))(*(x.ctypes.data for x in group)) for group in (self._inputs, self._outputs)
        )
        if library is None:
            self._run = partial(self._one_by_one, function)
        else:
            self._run = partial(ctypes.CDLL(str(library)).knots, *addresses, ctypes.c_long(width))

    def __call__(self, *arguments: Array) -> tuple[Array, ...]:
        for own, given in zip(self._targets, arguments, strict=True):
            own[: len(given)] = given
        self._run()
        return self._results

    def _one_by_one(self, function: ca.Function) -> None:
        """Evaluate with CasADi's virtual machine instead of compiled code; it takes one knot per column."""
        for out, result in zip(self._outputs, function.call(self._inputs), strict=True):
            columns = np.array(result).reshape(out.shape[1], out.shape[2], out.shape[0])
            out[...] = columns.transpose(2, 0, 1)


def compile_knots(wanted: Mapping[str, Knots]) -> dict[str, KnotFunction]:
    """Compile functions into cached shared libraries."""
    libraries = all_compiled([_code(knots.function, knots.shared) for knots in wanted.values()], straight=True)
    return {
        name: KnotFunction(knots, library) for (name, knots), library in zip(wanted.items(), libraries, strict=True)
    }


class AnyNumber:
    """A function of any number N of rows (N, k) and of arguments shared by all rows; returns new arrays.

    Not to be called from two threads at once.
    """

    def __init__(self, function: ca.Function) -> None:
        shared = tuple(range(1, function.n_in()))
        self._few, self._many = compile_knots(
            {str(width): Knots(function, width, shared) for width in (_FEW, _MANY)}
        ).values()

    def __call__(self, rows: Array, *shared: Array) -> list[Array]:
        function, width = (self._few, _FEW) if len(rows) <= 2 * _FEW else (self._many, _MANY)
        return in_chunks(lambda some: function(some, *shared), width, rows)


def in_chunks(function: Callable[..., tuple[Array, ...]], width: int, *arguments: Array) -> list[Array]:
    """Call a function of `width` knots on (N, k) arrays for any N."""
    count = len(arguments[0])
    if count <= width:
        return [out[:count].copy() for out in function(*arguments)]
    parts = [
        in_chunks(function, width, *(x[start : start + width] for x in arguments)) for start in range(0, count, width)
    ]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _padded(count: int) -> int:
    return -(-count // LANES) * LANES


class _Statement(NamedTuple):
    """Statement w[target] = …, or y = … if target is None; `reads` are the entries of w that it uses."""

    text: str
    target: int | None
    reads: tuple[int, ...]


@lru_cache(maxsize=64)
def _code(function: ca.Function, shared: tuple[int, ...]) -> str:
    """C code of a function: void knots(const double **in, double **out, long width).

    Arrays are ordered component by component, with the knots side by side. Long functions are split into parts,
    because compile time grows faster than the length of the code.
    """
    statements, used = _statements(function, shared)
    each = [f"EACH({name})" for operation, name in _CALLS.items() if operation in used]
    each += [f"EACH2({name})" for operation, name in _CALLS_OF_TWO.items() if operation in used]
    inputs = [f"const double *x{i} = in[{i}]{'' if i in shared else ' + k'};" for i in range(function.n_in())]
    outputs = [f"double *y{i} = out[{i}] + k;" for i in range(function.n_out())]
    starts = range(0, len(statements), _PART)
    parts = [_part(k, [*inputs, *outputs], statements, start) for k, start in enumerate(starts)]
    calls = "".join(f"    part{k}(in, out, width, k, w);\n" for k in range(len(parts)))
    head = (
        f"void knots({_ARGUMENTS}) {{\n    lanes w[{max(function.sz_w(), 1)}];\n    for (long k = 0; k < width; k += "
        f"LANES) {{\n"
    )
    return "\n".join([_HEAD, *each, *parts, f"{head}{calls}    }}\n}}"])


def _statements(function: ca.Function, shared: tuple[int, ...]) -> tuple[list[_Statement], set[int]]:
    """All statements of a function, and the operations in them."""
    statements, used = list[_Statement](), set[int]()
    for k in range(function.n_instructions()):
        operation, results, arguments = (
            function.instruction_id(k),
            function.instruction_output(k),
            function.instruction_input(k),
        )
        used.add(operation)
        if operation == ca.OP_INPUT:
            place, element = arguments
            value = f"all(x{place}[{element}])" if place in shared else f"at(x{place} + {element} * width)"
            statements.append(_Statement(f"w{results[0]} = {value};", results[0], ()))
        elif operation == ca.OP_OUTPUT:
            place, element = results
            statements.append(
                _Statement(f"*(lanes *)(y{place} + {element} * width) = w{arguments[0]};", None, tuple(arguments))
            )
        elif operation == ca.OP_CONST:
            statements.append(_Statement(f"w{results[0]} = all({function.instruction_constant(k)!r});", results[0], ()))
        else:
            value = _expression(operation, [f"w{i}" for i in arguments])
            statements.append(_Statement(f"w{results[0]} = {value};", results[0], tuple(arguments)))
    return statements, used


def _part(number: int, pointers: list[str], statements: list[_Statement], start: int) -> str:
    """Some statements as a C function: loads entries of w set by earlier parts, stores those read by later parts."""
    mine, later = statements[start : start + _PART], statements[start + _PART :]
    written = {s.target for s in mine if s.target is not None}
    incoming, outgoing = _read_first(mine), sorted(_read_first(later) & written)
    names = ", ".join(f"w{i}" for i in sorted(written | incoming))
    load = " ".join(f"w{i} = w[{i}];" for i in sorted(incoming))
    store = " ".join(f"w[{i}] = w{i};" for i in outgoing)
    head = f"static __attribute__((noinline)) void part{number}({_ARGUMENTS}, long k, lanes *w) {{"
    return "\n".join([head, *pointers, f"lanes {names};", load, *(s.text for s in mine), store, "}"])


def _read_first(statements: list[_Statement]) -> set[int]:
    """Entries of w that are read before they are written."""
    found, written = set[int](), set[int | None]()
    for statement in statements:
        found |= set(statement.reads) - written
        written.add(statement.target)
    return found


def _expression(operation: int, x: list[str]) -> str:
    if operation in _BINARY:
        return f"{x[0]} {_BINARY[operation]} {x[1]}"
    if operation in _UNARY:
        return _UNARY[operation].format(x[0])
    if operation in _CALLS:
        return f"{_CALLS[operation]}_each({x[0]})"
    if operation in _CALLS_OF_TWO:
        return f"{_CALLS_OF_TWO[operation]}_each({x[0]}, {x[1]})"
    raise NotImplementedError(
        f"operation {operation} of CasADi (casadi.OP_*) is not implemented for lanes: add it to knots.py"
    )
