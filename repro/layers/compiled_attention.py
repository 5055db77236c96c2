"""Attention within lists of tokens, compiled: each token sees those of its own list, wherever their rows lie.

Windows, the regions that a shift leaves within them and the branches of DiSa are lists. What a mask would hide is not
computed, and no token is moved. Compiled by numba (:mod:`repro.layers.loops`); loops over vectors are
written in LLVM's language, as numba does not keep sums in registers.
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

from repro.layers.loops import Floats, Ints, compiled, fast

LANES = 16
"""Numbers in a vector; a list's queries are taken by so many."""


def _wide() -> bool:
    """Tell whether a vector is one register."""
    try:
        return bool(binding.get_host_cpu_features().get("avx512f"))
    except RuntimeError:  # LLVM does not know the features of every processor
        return False


ROWS = 8 if _wide() else 4
"""Vectors of sums at a time; narrower machines hold each in two or four registers."""

_INT, _FLOAT = ir.IntType(64), ir.FloatType()
_VECTOR, _WHOLE = ir.VectorType(_FLOAT, LANES), ir.VectorType(ir.IntType(32), LANES)
_POWERS = [math.log(2) ** k / math.factorial(k) for k in reversed(range(8))]
"""2^r of |r| <= 1/2 as a polynomial, highest power first: relative error 5e-9."""
_LEAST = -126.0
"""Least exponent of a normal float32."""


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_VECTOR, [float(np.float32(value))] * LANES)


def _splat(b: ir.IRBuilder, number: Any) -> Any:
    """Return a vector that holds ``number`` in all lanes."""
    unset = ir.Constant(_VECTOR, ir.Undefined)
    first = b.insert_element(unset, number, ir.Constant(ir.IntType(32), 0))
    return b.shuffle_vector(first, unset, ir.Constant(_WHOLE, [0] * LANES))


def _call(b: ir.IRBuilder, name: str, *vectors: Any) -> Any:
    """Apply LLVM's intrinsic function ``name`` to vectors."""
    full = f"llvm.{name}.v{LANES}f32"
    function = b.module.globals.get(full) or ir.Function(
        b.module, ir.FunctionType(_VECTOR, [_VECTOR] * len(vectors)), full
    )
    return b.call(function, vectors)


def _load(b: ir.IRBuilder, base: Any, index: Any) -> Any:
    return b.load(b.bitcast(b.gep(base, [index]), _VECTOR.as_pointer()), align=4)


def _store(b: ir.IRBuilder, vector: Any, base: Any, index: Any) -> None:
    b.store(vector, b.bitcast(b.gep(base, [index]), _VECTOR.as_pointer()), align=4)


def _lane(b: ir.IRBuilder, index: Any) -> Any:
    return b.mul(index, _INT(LANES))


def _row(b: ir.IRBuilder, base: Any, members: Any, i: Any, count: Any, stride: Any) -> Any:
    """Return where the row of the list's i-th token begins, of its last where it has fewer."""
    last = b.sub(count, _INT(1))
    i = b.select(b.icmp_signed("<", i, last), i, last)
    return b.gep(base, [b.mul(b.load(b.gep(members, [i])), stride)])


def _loop(b: ir.IRBuilder, count: Any, values: Sequence[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """Return ``values`` after ``body(i, values)`` for i below ``count``, kept in registers."""
    before, head = b.block, b.append_basic_block("head")
    inside, done = b.append_basic_block("body"), b.append_basic_block("done")
    b.branch(head)
    b.position_at_end(head)
    i, now = b.phi(_INT), [b.phi(value.type) for value in values]
    b.cbranch(b.icmp_signed("<", i, count), inside, done)
    b.position_at_end(inside)
    after = [b.add(i, _INT(1)), *body(i, now)]
    for phi, first, later in zip([i, *now], [_INT(0), *values], after, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, b.block)
    b.branch(head)
    b.position_at_end(done)
    return now


def _transposed(b: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """Return the columns of 16 vectors: blocks off the diagonal change places, halves first, single numbers last."""
    size = LANES // 2
    while size:
        for i in (i for i in range(LANES) if not i & size):
            low = [lane if not lane & size else LANES + (lane ^ size) for lane in range(LANES)]
            high = [lane | size if not lane & size else LANES + lane for lane in range(LANES)]
            pair = rows[i], rows[i | size]
            rows[i], rows[i | size] = (b.shuffle_vector(*pair, ir.Constant(_WHOLE, order)) for order in (low, high))
        size //= 2
    return rows


def _vectorised(emit: Callable[..., None]) -> Any:
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


@_vectorised
def _columns(
    b: Any, x: Any, column: Any, first: Any, stride: Any, members: Any, at: Any, count: Any, scale: Any, out: Any
) -> None:
    """Write 16 columns from ``first`` of the 16 tokens from ``at`` as vectors over tokens, times ``scale``."""
    x, members, scale = b.gep(x, [b.add(column, first)]), b.gep(members, [at]), _splat(b, scale)
    out = b.gep(out, [_lane(b, first)])
    rows = [b.fmul(_load(b, _row(b, x, members, _INT(r), count, stride), _INT(0)), scale) for r in range(LANES)]
    for r, vector in enumerate(_transposed(b, rows)):
        _store(b, vector, out, _INT(r * LANES))


@_vectorised
def _scores(
    b: Any,
    x: Any,
    column: Any,
    first: Any,
    stride: Any,
    members: Any,
    at: Any,
    count: Any,
    query: Any,
    width: Any,
    out: Any,
) -> None:
    """Write the products of keys ``first`` and the following ones of the list with 16 queries."""
    x, members = b.gep(x, [column]), b.gep(members, [at])
    rows = [_row(b, x, members, b.add(first, _INT(r)), count, stride) for r in range(ROWS)]

    def body(i: Any, sums: list[Any]) -> list[Any]:
        vector = _load(b, query, _lane(b, i))
        keys = [_splat(b, b.load(b.gep(row, [i]))) for row in rows]
        return [_call(b, "fma", key, vector, total) for key, total in zip(keys, sums, strict=True)]

    for r, total in enumerate(_loop(b, width, [_constant(0)] * ROWS, body)):
        _store(b, total, out, _lane(b, b.add(first, _INT(r))))


@_vectorised
def _weights(b: Any, scores: Any, count: Any, inverse: Any) -> None:
    """Turn scores in powers of two into weights of 16 queries, and write the inverse of their sums."""

    def larger(i: Any, largest: list[Any]) -> list[Any]:
        return [_call(b, "maxnum", largest[0], _load(b, scores, _lane(b, i)))]

    (largest,) = _loop(b, count, [_constant(-math.inf)], larger)

    def weigh(i: Any, total: list[Any]) -> list[Any]:
        x = _call(b, "maxnum", b.fsub(_load(b, scores, _lane(b, i)), largest), _constant(_LEAST))
        whole = _call(b, "rint", x)
        rest, power = b.fsub(x, whole), _constant(_POWERS[0])
        for factor in _POWERS[1:]:
            power = _call(b, "fma", power, rest, _constant(factor))
        exponent = b.shl(b.fptosi(whole, _WHOLE), ir.Constant(_WHOLE, [23] * LANES))
        weight = b.bitcast(b.add(b.bitcast(power, _WHOLE), exponent), _VECTOR)
        _store(b, weight, scores, _lane(b, i))
        return [b.fadd(total[0], weight)]

    (total,) = _loop(b, count, [_constant(0)], weigh)
    _store(b, b.fdiv(_constant(1), total), inverse, _INT(0))


@_vectorised
def _mix(
    b: Any, x: Any, column: Any, first: Any, stride: Any, members: Any, at: Any, count: Any, weights: Any, out: Any
) -> None:
    """Write ROWS columns from ``first`` of the values of a list, weighted for 16 queries."""
    x, members = b.gep(x, [b.add(column, first)]), b.gep(members, [at])
    out = b.gep(out, [_lane(b, first)])

    def body(i: Any, sums: list[Any]) -> list[Any]:
        vector, row = _load(b, weights, _lane(b, i)), b.gep(x, [b.mul(b.load(b.gep(members, [i])), stride)])
        values = [_splat(b, b.load(b.gep(row, [_INT(r)]))) for r in range(ROWS)]
        return [_call(b, "fma", value, vector, total) for value, total in zip(values, sums, strict=True)]

    for r, total in enumerate(_loop(b, count, [_constant(0)] * ROWS, body)):
        _store(b, total, out, _INT(r * LANES))


@_vectorised
def _spread(
    b: Any, x: Any, column: Any, first: Any, stride: Any, members: Any, at: Any, count: Any, mixed: Any, inverse: Any
) -> None:
    """Write 16 columns of the result of the 16 tokens from ``at``; what stands for a missing one is the last's."""
    x, members, inverse = b.gep(x, [b.add(column, first)]), b.gep(members, [at]), _load(b, inverse, _INT(0))
    mixed = b.gep(mixed, [_lane(b, first)])
    rows = [b.fmul(_load(b, mixed, _INT(r * LANES)), inverse) for r in range(LANES)]
    for r, vector in enumerate(_transposed(b, rows)):
        _store(b, vector, _row(b, x, members, _INT(r), count, stride), _INT(0))


@compiled
def group(number: Ints, members: Ints, starts: Ints) -> None:
    """Write the tokens by ``number``, equal ones in their order, and where each number's begin (``starts`` is 0)."""
    for own in number:
        starts[own + 1] += 1
    for i in range(1, len(starts)):
        starts[i] += starts[i - 1]
    next_place = starts.copy()
    for token in range(len(number)):
        members[next_place[number[token]]] = token
        next_place[number[token]] += 1


@fast
def _add_guidance(qkv: Floats, table: Floats, place: Ints, members: Ints) -> None:
    """Add to the q, k, v of tokens ``members`` those rows of ``table`` that ``place`` names."""
    for token in members:
        own, guidance = qkv[token], table[place[token]]
        for i in range(own.shape[0]):
            own[i] += guidance[i]


@fast
def _raise_norms(qkv: Floats, token: int, heads: int, largest: Floats) -> None:
    """Raise the ``largest`` squared norms of a query and a key (2, heads) to those of ``token``."""
    width = qkv.shape[1] // 3 // heads
    for part in range(2 * heads):
        norm = np.float32(0)
        for i in range(part * width, (part + 1) * width):
            norm += qkv[token, i] * qkv[token, i]
        largest[part] = max(largest[part], norm)


@compiled
def attend_lists(
    qkv: Floats, table: Floats, place: Ints, members: Ints, starts: Ints, heads: int, bounded: bool, out: Floats
) -> float:
    """Add guidance to q, k, v (R, 3 C) and write each token's attention over its own list to ``out`` (R, C).

    List i has the tokens ``members[starts[i] : starts[i + 1]]``; each token is in one. Guidance is row ``place`` (R)
    of ``table`` (P, 3 C). Returns, if ``bounded``, a bound of how far two scores of one query can be apart.
    """
    dim, stride = out.shape[1], qkv.shape[1]
    width = dim // heads
    scale = np.float32(math.log2(math.e) / math.sqrt(width))
    longest = 0
    for i in range(starts.shape[0] - 1):
        longest = max(longest, starts[i + 1] - starts[i])
    room = (longest + ROWS - 1) // ROWS * ROWS
    query, mixed = np.empty(width * LANES, np.float32), np.empty(width * LANES, np.float32)
    weights, inverse = np.empty(room * LANES, np.float32), np.empty(LANES, np.float32)
    largest = np.zeros(2 * heads, np.float32)
    for i in range(starts.shape[0] - 1):
        start, count = starts[i], starts[i + 1] - starts[i]
        _add_guidance(qkv, table, place, members[start : start + count])
        if bounded:
            for token in members[start : start + count]:
                _raise_norms(qkv, token, heads, largest)
        for head in range(heads):
            own = head * width
            for at in range(start, start + count, LANES):
                some = min(LANES, start + count - at)
                for c in range(0, width, LANES):
                    _columns(qkv, own, c, stride, members, at, some, scale, query)
                for key in range(0, count, ROWS):
                    _scores(qkv, dim + own, key, stride, members, start, count, query, width, weights)
                _weights(weights, count, inverse)
                for c in range(0, width, ROWS):
                    _mix(qkv, 2 * dim + own, c, stride, members, start, count, weights, mixed)
                for c in range(0, width, LANES):
                    _spread(out, own, c, dim, members, at, some, mixed, inverse)
    furthest = np.float32(0)
    for head in range(heads):
        furthest = max(furthest, largest[head] * largest[heads + head])
    return 2 * math.sqrt(furthest / width)
