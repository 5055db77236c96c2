"""Loops over vectors of float32 in LLVM's language, as numba does not keep sums in registers.

A function of :func:`vectorised` is Python that writes such a loop with a builder; compiled code calls it by numbers.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

LANES = 16
"""Numbers in a vector."""


def _wide() -> bool:
    """Tell whether a vector is one register."""
    try:
        return bool(binding.get_host_cpu_features().get("avx512f"))
    except RuntimeError:  # LLVM does not know the features of every processor
        return False


WIDE = _wide()
ROWS = 8 if WIDE else 4
"""Vectors of sums at a time; narrower machines hold each in two or four registers."""

INT, FLOAT = ir.IntType(64), ir.FloatType()
VECTOR, WHOLE = ir.VectorType(FLOAT, LANES), ir.VectorType(ir.IntType(32), LANES)


def constant(value: float) -> ir.Constant:
    """Return a vector that holds ``value`` in all lanes."""
    return ir.Constant(VECTOR, [float(np.float32(value))] * LANES)


def splat(b: ir.IRBuilder, number: Any) -> Any:
    """Return a vector that holds ``number`` in all lanes."""
    unset = ir.Constant(VECTOR, ir.Undefined)
    first = b.insert_element(unset, number, ir.Constant(ir.IntType(32), 0))
    return b.shuffle_vector(first, unset, ir.Constant(WHOLE, [0] * LANES))


def call(b: ir.IRBuilder, name: str, *vectors: Any) -> Any:
    """Apply LLVM's intrinsic function ``name`` to vectors."""
    full = f"llvm.{name}.v{LANES}f32"
    function = b.module.globals.get(full) or ir.Function(
        b.module, ir.FunctionType(VECTOR, [VECTOR] * len(vectors)), full
    )
    return b.call(function, vectors)


def at_least(b: ir.IRBuilder, x: Any, value: float) -> Any:
    """Return the larger of each number and ``value``; what is no number stays none."""
    return b.select(b.fcmp_ordered("<", x, constant(value)), constant(value), x)


def at_most(b: ir.IRBuilder, x: Any, value: float) -> Any:
    """Return the smaller of each number and ``value``; what is no number stays none."""
    return b.select(b.fcmp_ordered(">", x, constant(value)), constant(value), x)


def load(b: ir.IRBuilder, base: Any, index: Any) -> Any:
    """Return the vector that begins at number ``index`` of ``base``."""
    return b.load(b.bitcast(b.gep(base, [index]), VECTOR.as_pointer()), align=4)


def store(b: ir.IRBuilder, vector: Any, base: Any, index: Any) -> None:
    """Write ``vector`` from number ``index`` of ``base`` on."""
    b.store(vector, b.bitcast(b.gep(base, [index]), VECTOR.as_pointer()), align=4)


def lane(b: ir.IRBuilder, index: Any) -> Any:
    """Return the number at which vector ``index`` begins."""
    return b.mul(index, INT(LANES))


def row_of(b: ir.IRBuilder, base: Any, members: Any, i: Any, count: Any, stride: Any) -> Any:
    """Return where the row of the list's i-th token begins, of its last where it has fewer."""
    last = b.sub(count, INT(1))
    i = b.select(b.icmp_signed("<", i, last), i, last)
    return b.gep(base, [b.mul(b.load(b.gep(members, [i])), stride)])


def loop(b: ir.IRBuilder, count: Any, values: Sequence[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """Return ``values`` after ``body(i, values)`` for i below ``count``, kept in registers."""
    before, head = b.block, b.append_basic_block("head")
    inside, done = b.append_basic_block("body"), b.append_basic_block("done")
    b.branch(head)
    b.position_at_end(head)
    i, now = b.phi(INT), [b.phi(value.type) for value in values]
    b.cbranch(b.icmp_signed("<", i, count), inside, done)
    b.position_at_end(inside)
    after = [b.add(i, INT(1)), *body(i, now)]
    for phi, first, later in zip([i, *now], [INT(0), *values], after, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, b.block)
    b.branch(head)
    b.position_at_end(done)
    return now


def transposed(b: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """Return the columns of 16 vectors: blocks off the diagonal change places, halves first, single numbers last."""
    size = LANES // 2
    while size:
        for i in (i for i in range(LANES) if not i & size):
            low = [lane if not lane & size else LANES + (lane ^ size) for lane in range(LANES)]
            high = [lane | size if not lane & size else LANES + lane for lane in range(LANES)]
            pair = rows[i], rows[i | size]
            rows[i], rows[i | size] = (b.shuffle_vector(*pair, ir.Constant(WHOLE, order)) for order in (low, high))
        size //= 2
    return rows


def vectorised(emit: Callable[..., None]) -> Any:
    """Make of ``emit(builder, *values)`` a function for compiled code: arrays of numbers arrive as pointers."""

    def typed(_: Any, *arguments: Any) -> Any:
        signature = types.void(*(types.unliteral(argument) for argument in arguments))

        def generate(context: Any, b: ir.IRBuilder, sig: Any, values: Sequence[Any]) -> Any:
            ready = [
                context.make_array(kind)(context, b, value).data if isinstance(kind, types.Array) else value
                for kind, value in zip(sig.args, values, strict=True)
            ]
            emit(b, *ready)
            return context.get_dummy_value()

        return signature, generate

    typed.__name__ = emit.__name__
    typed.__signature__ = inspect.signature(emit)  # type: ignore[attr-defined]
    return intrinsic(typed)


def lane_sum(b: ir.IRBuilder, vector: Any) -> Any:
    """Return the sum of a vector's numbers: halves are added until one is left."""
    size = LANES // 2
    while size:
        order = ir.Constant(WHOLE, [lane ^ size for lane in range(LANES)])
        vector = b.fadd(vector, b.shuffle_vector(vector, vector, order))
        size //= 2
    return b.extract_element(vector, ir.Constant(ir.IntType(32), 0))


_POWERS = [math.log(2) ** k / math.factorial(k) for k in reversed(range(8))]
"""2^r of |r| <= 1/2 as a polynomial, highest power first: relative error 5e-9."""
_LEAST = -126.0
"""Least exponent of a normal float32."""


def power_of_two(b: ir.IRBuilder, x: Any) -> Any:
    """Return 2^x of numbers up to 126; of those below -126 that of -126, and x of what is no number."""
    most = at_least(b, x, _LEAST)
    nearest = call(b, "rint", most)
    rest, power = b.fsub(most, nearest), constant(_POWERS[0])
    for factor in _POWERS[1:]:
        power = call(b, "fma", power, rest, constant(factor))
    exponent = b.shl(b.fptosi(nearest, WHOLE), ir.Constant(WHOLE, [23] * LANES))
    scaled = b.bitcast(b.add(b.bitcast(power, WHOLE), exponent), VECTOR)
    return b.select(b.fcmp_unordered("uno", x, x), x, scaled)
