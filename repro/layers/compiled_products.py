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
    ROWS,
    WIDE,
    at_least,
    at_most,
    call,
    constant,
    lane,
    load,
    loop,
    splat,
    store,
    vectorised,
)

Activation = Callable[[Any, Any], Any]

TILE = 8 if WIDE else 6
"""Tokens of a product whose sums are in registers."""
_FAR = 5.25
"""Where the GELU of a negative number is taken for that of the last one, -4e-7."""


def _series(function: Callable[[float], float], degree: int) -> list[float]:
    """Return ``function`` of 0 to far as a polynomial in 2 a / far - 1, highest power first."""

    def exact(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([function(a) for a in numbers])

    series = Chebyshev.interpolate(exact, degree, domain=[0, _FAR])
    return [float(c) for c in reversed(Chebyshev(series.coef).convert(kind=Polynomial).coef)]


def _beyond(a: float) -> float:
    return math.erfc(a / math.sqrt(2)) / 2


_TAIL = _series(lambda a: a * _beyond(a), 16)
"""a (1 - Phi(a)), off by 4e-8."""
_SLOPE = _series(lambda a: _beyond(a) - a * math.exp(-a * a / 2) / math.sqrt(2 * math.pi), 17)
"""What a (Phi(a) - 1) has for a derivative, with the sign changed: 1 - Phi(a) - a phi(a)."""


def _of_size(b: Any, x: Any, series: list[float]) -> Any:
    """Return the polynomial ``series`` of the size of x."""
    size = at_most(b, call(b, "fabs", x), _FAR)
    t = call(b, "fma", size, constant(2 / _FAR), constant(-1))
    value = constant(series[0])
    for factor in series[1:]:
        value = call(b, "fma", value, t, constant(factor))
    return value


def _gelu(b: Any, x: Any) -> Any:
    """Return x Phi(x), which is max(x, 0) - |x| Phi(-|x|)."""
    return b.fsub(at_least(b, x, 0), _of_size(b, x, _TAIL))


def _gelu_slope(b: Any, x: Any) -> Any:
    """Return Phi(x) + x phi(x): that of a negative number, and 1 less that of the opposite of a positive one."""
    value = _of_size(b, x, _SLOPE)
    return b.select(b.fcmp_ordered(">", x, constant(0)), b.fsub(constant(1), value), value)


def _relu(b: Any, x: Any) -> Any:
    return at_least(b, x, 0)


def _relu_slope(b: Any, x: Any) -> Any:
    """Return 1 or, as torch at 0, 0."""
    return b.select(b.fcmp_ordered(">", x, constant(0)), constant(1), constant(0))


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
    activation: Activation | None = None,
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
def times(b: Any, x: Any, width: Any, first: Any, weight: Any, columns: Any, column: Any, out: Any) -> None:
    """Write the products of TILE tokens with 16 columns to ``out``."""
    _tile(b, x, width, first, weight, columns, column, out)


@vectorised
def affine(b: Any, x: Any, width: Any, first: Any, weight: Any, columns: Any, column: Any, out: Any) -> None:
    """Write products and bias."""
    _tile(b, x, width, first, weight, columns, column, out, bias=True)


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


def _both(b: Any, x: Any, vectors: Any, out: Any, slope: Any, value: Activation, derivative: Activation) -> None:
    def body(i: Any, _: list[Any]) -> list[Any]:
        numbers = load(b, x, lane(b, i))
        store(b, value(b, numbers), out, lane(b, i))
        store(b, derivative(b, numbers), slope, lane(b, i))
        return []

    loop(b, vectors, [], body)


@vectorised
def both_gelu(b: Any, x: Any, vectors: Any, out: Any, slope: Any) -> None:
    """Write the GELU of as many ``vectors`` of ``x``, and its derivative."""
    _both(b, x, vectors, out, slope, _gelu, _gelu_slope)


@vectorised
def both_relu(b: Any, x: Any, vectors: Any, out: Any, slope: Any) -> None:
    """Write the ReLU of as many ``vectors`` of ``x``, and its derivative."""
    _both(b, x, vectors, out, slope, _relu, _relu_slope)


@vectorised
def outer_onto(
    b: Any, x: Any, width: Any, first: Any, grad: Any, columns: Any, column: Any, count: Any, out: Any
) -> None:
    """Add to ROWS rows from ``first`` and 16 columns of ``out`` (width, columns) the products of ``count`` tokens.

    Those of numbers ``x`` (.., width) and ``grad`` (.., columns) of the same token, as in the gradient of a matrix.
    """
    x, grad, out = b.gep(x, [first]), b.gep(grad, [column]), b.gep(out, [column])

    def body(i: Any, sums: list[Any]) -> list[Any]:
        vector, row = load(b, grad, b.mul(i, columns)), b.gep(x, [b.mul(i, width)])
        numbers = [splat(b, b.load(b.gep(row, [INT(r)]))) for r in range(ROWS)]
        return [call(b, "fma", number, vector, total) for number, total in zip(numbers, sums, strict=True)]

    for r, total in enumerate(loop(b, count, [constant(0)] * ROWS, body)):
        place = b.mul(b.add(first, INT(r)), columns)
        store(b, b.fadd(load(b, out, place), total), out, place)


@fast
def _moments(x: Floats, row: int, eps: float) -> tuple[np.floating, np.floating]:
    """Return mean and inverse deviation of a row."""
    width = x.shape[1]
    share, total, squares = np.float32(1) / np.float32(width), np.float32(0), np.float32(0)
    for j in range(width):
        total += x[row, j]
    mean = total * share
    for j in range(width):
        apart = x[row, j] - mean
        squares += apart * apart
    return mean, np.float32(1) / np.sqrt(squares * share + np.float32(eps))


@fast
def normalise(x: Floats, count: int, norm: Floats, eps: float, out: Floats) -> None:
    """Write the layer norm of the first ``count`` rows of ``x`` to ``out``, both (.., C)."""
    width = x.shape[1]
    for i in range(count):
        mean, scale = _moments(x, i, eps)
        for j in range(width):
            out[i, j] = (x[i, j] - mean) * scale * norm[0, j] + norm[1, j]


@fast
def normalise_back(
    x: Floats, count: int, norm: Floats, eps: float, grad: Floats, add: bool, out: Floats, weight: Floats, bias: Floats
) -> None:
    """Write, or ``add``, the gradient of ``x`` to ``out`` by that of its layer norm, ``grad``, all (.., C).

    The gradients of the norm's weight and bias are added to those (C). ``out`` may be ``grad``.
    """
    width = x.shape[1]
    share, sums = np.float32(1) / np.float32(width), np.zeros((2, width), np.float32)
    for i in range(count):
        mean, scale = _moments(x, i, eps)
        level, along = np.float32(0), np.float32(0)
        for j in range(width):
            weighted = grad[i, j] * norm[0, j]
            level += weighted
            along += weighted * (x[i, j] - mean)
        level, along = level * share, along * share * scale * scale
        for j in range(width):
            own, apart = grad[i, j], x[i, j] - mean
            sums[0, j] += own * apart * scale
            sums[1, j] += own
            change = scale * (own * norm[0, j] - level - along * apart)
            out[i, j] = out[i, j] + change if add else change
    weight += sums[0]
    bias += sums[1]  # sums of sums are more exact than one of many tokens
