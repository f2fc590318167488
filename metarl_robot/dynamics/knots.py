"""One expression at all knots of a plan in one call: a knot is a lane of the processor's vector unit.

A CasADi function of scalars is a list of elementary operations. Each is written out as C for eight knots at once (vector extensions of
GCC and Clang, which split them up where the processor's vectors are shorter), so that a call costs about as much as two or three
knots did. Without a C compiler CasADi's own machine evaluates one knot after the other: same results, slower.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.compiled import NumpyFunction
from metarl_robot.dynamics.compiler import all_compiled

Array = NDArray[np.float64]

LANES = 8

_BINARY = {ca.OP_ADD: "+", ca.OP_SUB: "-", ca.OP_MUL: "*", ca.OP_DIV: "/"}
_UNARY = {ca.OP_ASSIGN: "{0}", ca.OP_NEG: "-{0}", ca.OP_SQ: "{0} * {0}", ca.OP_TWICE: "{0} + {0}", ca.OP_INV: "1.0 / {0}"}
_CALLS = {
    ca.OP_SQRT: "sqrt", ca.OP_SIN: "sin", ca.OP_COS: "cos", ca.OP_EXP: "exp", ca.OP_TANH: "tanh", ca.OP_FABS: "fabs",
    ca.OP_ACOS: "acos", ca.OP_ASIN: "asin", ca.OP_ATAN: "atan", ca.OP_LOG: "log", ca.OP_SIGN: "sign", ca.OP_NOT: "negation",
}  # fmt: skip
_CALLS_OF_TWO = {
    ca.OP_ATAN2: "atan2", ca.OP_FMIN: "fmin", ca.OP_FMAX: "fmax", ca.OP_LT: "less", ca.OP_LE: "at_most", ca.OP_EQ: "equal",
    ca.OP_IF_ELSE_ZERO: "where",
}  # fmt: skip
_HEAD = f"""#include <math.h>
#define LANES {LANES}
typedef double lanes __attribute__((vector_size(8 * LANES), aligned(8), may_alias));
#define EACH(name) static inline lanes name##_each(lanes x) {{ for (int i = 0; i < LANES; ++i) x[i] = name(x[i]); return x; }}
#define EACH2(name) \\
    static inline lanes name##_each(lanes x, lanes y) {{ for (int i = 0; i < LANES; ++i) x[i] = name(x[i], y[i]); return x; }}
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
    """A function of scalars, how many knots it is wanted at, and which of its inputs are the same at all of them."""

    function: ca.Function
    number: int
    shared: tuple[int, ...] = ()


class KnotFunction:
    """A function at its knots, on numpy arrays.

    An input is (count, n), or (n,) if shared; a matrix output (r, c) comes as (count, r, c), a column as (count, r). Returned arrays
    are owned by this object and overwritten by the next call: copy what must last. Not to be called from two threads at once.
    """

    def __init__(self, knots: Knots, compiled_code: ctypes._NamedFuncPointer) -> None:
        function, count, self._call = knots.function, knots.number, compiled_code
        width = _padded(count)
        sizes = [function.size1_in(i) for i in range(function.n_in())]
        self._inputs = [np.zeros(n) if i in knots.shared else np.zeros((n, width)) for i, n in enumerate(sizes)]
        outputs = [np.zeros((function.size2_out(i), function.size1_out(i), width)) for i in range(function.n_out())]
        self._targets = [x if x.ndim == 1 else x[:, :count].T for x in self._inputs]
        self._tails = [(x[:, count - 1 : count], x[:, count:]) for x in self._inputs if x.ndim == 2 and width > count]
        self._results = tuple(x[0, :, :count].T if len(x) == 1 else x[:, :, :count].transpose(2, 1, 0) for x in outputs)
        self._arguments = tuple((ctypes.c_void_p * len(group))(*(x.ctypes.data for x in group)) for group in (self._inputs, outputs))
        self._kept = outputs

    def __call__(self, *arguments: Array) -> tuple[Array, ...]:
        for own, given in zip(self._targets, arguments, strict=True):
            own[...] = given
        for last, tail in self._tails:
            tail[...] = last  # lanes without a knot repeat the last one: no division by zero
        self._call(*self._arguments)
        return self._results


def compile_knots(wanted: Mapping[str, Knots]) -> dict[str, KnotFunction | NumpyFunction]:
    """Compile functions into cached shared libraries."""
    libraries = all_compiled([_code(knots) for knots in wanted.values()], straight=True)
    return {name: _loaded(knots, library) for (name, knots), library in zip(wanted.items(), libraries, strict=True)}


def _loaded(knots: Knots, library: Path | None) -> KnotFunction | NumpyFunction:
    return _one_by_one(knots) if library is None else KnotFunction(knots, ctypes.CDLL(str(library)).knots)


def in_chunks(function: KnotFunction | NumpyFunction, width: int, *arguments: Array) -> list[Array]:
    """Call a function of `width` knots on (N, k) arrays, whatever N."""
    count = len(arguments[0])
    parts: list[list[Array]] = []
    for start in range(0, count, width):
        size = min(width, count - start)
        padded = [_filled(x[start : start + size], width) for x in arguments]
        parts.append([out[:size].copy() for out in function(*padded)])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _filled(rows: Array, width: int) -> Array:
    """The rows (k, n), and the last again up to (width, n)."""
    return rows if len(rows) == width else np.concatenate([rows, np.broadcast_to(rows[-1], (width - len(rows), rows.shape[1]))])


def _one_by_one(knots: Knots) -> NumpyFunction:
    function, count = knots.function, knots.number
    sizes = [function.size1_in(i) for i in range(function.n_in())]
    arguments = [ca.MX.sym(f"x{i}", n, 1 if i in knots.shared else count) for i, n in enumerate(sizes)]
    spread = [ca.repmat(x, 1, count) if i in knots.shared else x for i, x in enumerate(arguments)]
    return NumpyFunction(ca.Function("knots", arguments, function.map(count).call(spread)), count)


def _padded(count: int) -> int:
    return -(-count // LANES) * LANES


def _code(knots: Knots) -> str:
    """C of a function: void knots(const double **in, double **out), component by component, knots side by side."""
    function, count, shared = knots
    width = _padded(count)
    body, used = list[str](), set[int]()
    for k in range(function.n_instructions()):
        operation, results, arguments = function.instruction_id(k), function.instruction_output(k), function.instruction_input(k)
        used.add(operation)
        if operation == ca.OP_INPUT:
            place, element = arguments
            body.append(f"w{results[0]} = " + (f"all(x{place}[{element}]);" if place in shared else f"at(x{place} + {element * width});"))
        elif operation == ca.OP_OUTPUT:
            place, element = results
            body.append(f"*(lanes *)(y{place} + {element * width}) = w{arguments[0]};")
        elif operation == ca.OP_CONST:
            body.append(f"w{results[0]} = all({function.instruction_constant(k)!r});")
        else:
            body.append(f"w{results[0]} = {_expression(operation, [f'w{i}' for i in arguments])};")
    work = ", ".join(f"w{i}" for i in range(function.sz_w()))
    inputs = [f"const double *x{i} = in[{i}]{'' if i in shared else ' + k'};" for i in range(function.n_in())]
    outputs = [f"double *y{i} = out[{i}] + k;" for i in range(function.n_out())]
    each = [f"EACH({name})" for operation, name in _CALLS.items() if operation in used]
    each += [f"EACH2({name})" for operation, name in _CALLS_OF_TWO.items() if operation in used]
    head = f"void knots(const double **in, double **out) {{\nfor (int k = 0; k < {width}; k += LANES) {{"
    return "\n".join([_HEAD, *each, head, *inputs, *outputs, f"lanes {work};", *body, "}\n}"])


def _expression(operation: int, x: list[str]) -> str:
    if operation in _BINARY:
        return f"{x[0]} {_BINARY[operation]} {x[1]}"
    if operation in _UNARY:
        return _UNARY[operation].format(x[0])
    if operation in _CALLS:
        return f"{_CALLS[operation]}_each({x[0]})"
    if operation in _CALLS_OF_TWO:
        return f"{_CALLS_OF_TWO[operation]}_each({x[0]}, {x[1]})"
    raise NotImplementedError(f"operation {operation} of CasADi (casadi.OP_*) is not written out for lanes yet: add it to knots.py")
