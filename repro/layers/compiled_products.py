"""Products of tokens with matrices and what stands around them, compiled: linear maps, activations, layer norm.

Rows of activations and of matrices follow one another in memory; sums stay in registers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from repro.layers.loops import Floats, fast
from repro.layers.vectors import (
    INT,
    WIDE,
    at_least,
    at_most,
    call,
    constant,
    load,
    loop,
    splat,
    store,
    vectorised,
)

TILE = 8 if WIDE else 6
"""Tokens of a product whose sums are in registers."""
_FAR = 5.25
"""Where the GELU of a negative number is taken for that of the last one, -4e-7."""


def _tail() -> list[float]:
    """Return a (1 - Phi(a)) for a of 0 to far as a polynomial in 2 a / far - 1, highest power first; off by 4e-8."""

    def exact(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([a * math.erfc(a / math.sqrt(2)) / 2 for a in numbers])

    series = Chebyshev.interpolate(exact, 16, domain=[0, _FAR])
    return [float(c) for c in reversed(Chebyshev(series.coef).convert(kind=Polynomial).coef)]


_TAIL = _tail()


def _gelu(b: Any, x: Any) -> Any:
    """Return x Phi(x), which is max(x, 0) - |x| Phi(-|x|)."""
    size = at_most(b, call(b, "fabs", x), _FAR)
    t = call(b, "fma", size, constant(2 / _FAR), constant(-1))
    value = constant(_TAIL[0])
    for factor in _TAIL[1:]:
        value = call(b, "fma", value, t, constant(factor))
    return b.fsub(at_least(b, x, 0), value)


def _relu(b: Any, x: Any) -> Any:
    return at_least(b, x, 0)


def _tile(
    b: Any,
    x: Any,
    width: Any,
    first: Any,
    weight: Any,
    columns: Any,
    column: Any,
    out: Any,
    *,
    onto: bool = False,
    bias: bool = False,
    activation: Callable[[Any, Any], Any] | None = None,
) -> None:
    """Write 16 columns of the products of TILE tokens (.., width) from ``first`` with ``weight`` (width, columns).

    ``onto`` adds them to what ``out`` (.., columns) holds, ``bias`` adds the row of ``weight`` after its last.
    """
    weight, out = b.gep(weight, [column]), b.gep(out, [column])
    tokens = [b.add(first, INT(r)) for r in range(TILE)]
    rows, places = [b.gep(x, [b.mul(t, width)]) for t in tokens], [b.mul(t, columns) for t in tokens]

    def body(i: Any, sums: list[Any]) -> list[Any]:
        vector = load(b, weight, b.mul(i, columns))
        numbers = [splat(b, b.load(b.gep(row, [i]))) for row in rows]
        return [call(b, "fma", number, vector, total) for number, total in zip(numbers, sums, strict=True)]

    begin = load(b, weight, b.mul(width, columns)) if bias else constant(0)
    for place, total in zip(places, loop(b, width, [begin] * TILE, body), strict=True):
        if activation is not None:
            total = activation(b, total)
        # Added last: sums that begin from a large number would be rounded as it is.
        store(b, b.fadd(load(b, out, place), total) if onto else total, out, place)


@vectorised
def onto(b: Any, x: Any, width: Any, first: Any, weight: Any, columns: Any, column: Any, out: Any) -> None:
    """Add the products of TILE tokens with 16 columns to ``out``."""
    _tile(b, x, width, first, weight, columns, column, out, onto=True)


@vectorised
def affine_onto(b: Any, x: Any, width: Any, first: Any, weight: Any, columns: Any, column: Any, out: Any) -> None:
    """Add the products and the bias."""
    _tile(b, x, width, first, weight, columns, column, out, onto=True, bias=True)


@vectorised
def affine_gelu(b: Any, x: Any, width: Any, first: Any, weight: Any, columns: Any, column: Any, out: Any) -> None:
    """Write the GELU of products and bias."""
    _tile(b, x, width, first, weight, columns, column, out, bias=True, activation=_gelu)


@vectorised
def affine_relu(b: Any, x: Any, width: Any, first: Any, weight: Any, columns: Any, column: Any, out: Any) -> None:
    """Write the ReLU of products and bias."""
    _tile(b, x, width, first, weight, columns, column, out, bias=True, activation=_relu)


@fast
def normalise(x: Floats, count: int, norm: Floats, eps: float, out: Floats) -> None:
    """Write the layer norm of the first ``count`` rows of ``x`` to ``out``, both (.., C)."""
    width = x.shape[1]
    share = np.float32(1) / np.float32(width)
    for i in range(count):
        total = np.float32(0)
        for j in range(width):
            total += x[i, j]
        mean = total * share
        squares = np.float32(0)
        for j in range(width):
            apart = x[i, j] - mean
            squares += apart * apart
        scale = np.float32(1) / np.sqrt(squares * share + np.float32(eps))
        for j in range(width):
            out[i, j] = (x[i, j] - mean) * scale * norm[0, j] + norm[1, j]
