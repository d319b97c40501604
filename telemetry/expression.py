"""The small expression language of the equipment file: conditions, expected answers and physical relations.

Python's syntax, and nothing but: names, numbers, + - * / **, unary -, comparisons, and or not, min max abs sqrt, Tsat
(absolute MPa → °C), wrap180 (degrees); over a window also rate(x), moved_km(latitude, longitude) and the name `hours`.
The single word `always` is true.

Invariants: text is vetted node by node and compiled to closures, never handed to eval; every number is a float, so no
expression can grow without bound; floats and numpy arrays are treated alike. Where Python would raise (division by
zero, root of a negative) the answer is what IEEE 754 says: inf or NaN.
"""

import ast
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from telemetry.steam import saturation_temperature

MAX_CHARS = 400
MAX_DEPTH = 32
MAX_EXPONENT = 16

Operand = float | npt.NDArray[Any]
Env = Mapping[str, Any]
_Node = Callable[[Env], Any]

_ALLOWED = re.compile(r"[A-Za-z0-9_ .,+\-*/<>=!()]+")
_EQUALS = re.compile(r"(?<![<>=!])=(?!=)")
_WINDOW_FUNCTIONS = {"rate": 1, "moved_km": 2}
_EARTH_KM = 6371.0088


class ExpressionError(ValueError):
    """The text is not an expression of this language, or a name in it has no value."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression. `names` are the values that it needs (`hours` is not among them); `window` says whether it
    means something over a window only."""

    text: str
    names: frozenset[str] = field(compare=False)
    window: bool = field(compare=False)
    always: bool = field(compare=False)
    _run: _Node = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str, *, window: bool = False) -> "Expression":
        """Parse `text`; rate(), moved_km() and `hours` only where `window`. Raises ExpressionError."""
        if text.strip() == "always":
            return cls("always", frozenset(), False, True, _constant(True))
        reader = _Reader(text, window=window)
        return cls(text, frozenset(reader.names), reader.windowed, False, reader.run)

    def evaluate(self, env: Env) -> Any:
        """The value: a float or bool where every name in `env` is a number, else an array (all arrays of one shape).
        Raises ExpressionError where a name has no value."""
        with np.errstate(all="ignore"):
            return self._run(env)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Equation:
    """ "left = right"."""

    text: str
    left: Expression
    right: Expression

    @classmethod
    def parse(cls, text: str, *, window: bool = False) -> "Equation":
        """Raises ExpressionError unless there is exactly one equals sign with an expression on both sides."""
        parts = _EQUALS.split(text)
        if len(parts) != 2:
            raise ExpressionError(f"expected left = right, found {text[:80]!r}")
        left, right = (Expression.parse(part.strip(), window=window) for part in parts)
        return cls(text, left, right)

    @property
    def names(self) -> frozenset[str]:
        """Names needed by either side."""
        return self.left.names | self.right.names


class _Reader:
    """Turns one text into a closure, refusing every node that the language does not have."""

    def __init__(self, text: str, *, window: bool) -> None:
        self.names: set[str] = set()
        self.windowed = False
        self._text = text
        self._window = window
        if len(text) > MAX_CHARS:
            raise ExpressionError(f"longer than {MAX_CHARS} characters")
        if not _ALLOWED.fullmatch(text):
            raise ExpressionError(f"not an expression: {text[:80]!r}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "0or 1" is odd, not wrong
                tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ExpressionError(f"not an expression: {text[:80]!r}") from error
        self.run = self._node(tree.body, MAX_DEPTH)

    def _refuse(self, what: str) -> ExpressionError:
        return ExpressionError(f"{what} in {self._text[:80]!r}")

    def _node(self, node: ast.expr, depth: int) -> _Node:
        if depth == 0:
            raise self._refuse("nested too deep")
        depth -= 1
        match node:
            case ast.Constant(value=value):
                return self._number(value)
            case ast.Name(id=name):
                return self._name(name)
            case ast.UnaryOp(op=ast.USub(), operand=x):
                run = self._node(x, depth)
                return lambda env: -_real(run(env))
            case ast.UnaryOp(op=ast.Not(), operand=x):
                run = self._node(x, depth)
                return lambda env: _not(run(env))
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                base, exponent = self._node(left, depth), self._exponent(right)
                return lambda env: _power(_real(base(env)), exponent)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                apply, a, b = _ARITHMETIC[type(op)], self._node(left, depth), self._node(right, depth)
                return lambda env: apply(_real(a(env)), _real(b(env)))
            case ast.BoolOp(op=op, values=values):
                return _bool_op(isinstance(op, ast.And), [self._node(v, depth) for v in values])
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(o) in _COMPARE for o in ops):
                sides = [self._node(x, depth) for x in (left, *others)]
                return _compare([_COMPARE[type(o)] for o in ops], sides)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(name, args, depth)
            case _:
                raise self._refuse(f"{type(node).__name__} is not allowed")

    def _number(self, value: object) -> _Node:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refuse(f"{value!r} is not a number")
        try:
            number = float(value)
        except OverflowError as error:
            raise self._refuse("a number is too large") from error
        if not math.isfinite(number):
            raise self._refuse("a number is too large")
        return _constant(number)

    def _exponent(self, node: ast.expr) -> float:
        sign = 1.0
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            sign, node = -1.0, node.operand
        if not isinstance(node, ast.Constant):
            raise self._refuse("an exponent must be a number")
        exponent = sign * float(self._number(node.value)({}))
        if abs(exponent) > MAX_EXPONENT:
            raise self._refuse(f"an exponent above {MAX_EXPONENT}")
        return exponent

    def _name(self, name: str) -> _Node:
        if name in _FUNCTIONS or name in _WINDOW_FUNCTIONS or name == "always":
            raise self._refuse(f"{name} is not a value")
        if name == "hours" and self._window:
            self.windowed = True
        else:
            self.names.add(name)
        return _lookup(name)

    def _call(self, name: str, args: list[ast.expr], depth: int) -> _Node:
        if name in _WINDOW_FUNCTIONS and self._window:
            if len(args) != _WINDOW_FUNCTIONS[name]:
                raise self._refuse(f"{name} with {len(args)} arguments")
            self.windowed = True
            runs = [self._node(a, depth) for a in args]
            return _rate(runs[0]) if name == "rate" else _moved_km(runs[0], runs[1])
        if name not in _FUNCTIONS:
            raise self._refuse(f"no function {name}")
        least, most, apply = _FUNCTIONS[name]
        if not least <= len(args) <= most:
            raise self._refuse(f"{name} with {len(args)} arguments")
        runs = [self._node(a, depth) for a in args]
        return lambda env: apply(*(_real(run(env)) for run in runs))


def _constant(value: float | bool) -> _Node:
    return lambda env: value


def _lookup(name: str) -> _Node:
    def run(env: Env) -> Any:
        try:
            return env[name]
        except KeyError:
            raise ExpressionError(f"no value for {name}") from None

    return run


def _real(x: Any) -> Any:
    """Arithmetic needs numbers: numpy will not subtract booleans, Python's own need no help."""
    if isinstance(x, np.ndarray):
        return x if x.dtype.kind == "f" else x.astype(np.float64)
    return float(x)


def _divide(a: Any, b: Any) -> Any:
    if isinstance(a, float) and isinstance(b, float):
        return a / b if b != 0.0 else float(np.float64(a) / np.float64(b))
    return a / b


def _power(a: Any, b: float) -> Any:
    if isinstance(a, float):
        return float(np.power(np.float64(a), b))
    return np.power(a, b)


def _not(x: Any) -> Any:
    return np.logical_not(x) if isinstance(x, np.ndarray) else not x


def _bool_op(both: bool, runs: list[_Node]) -> _Node:
    """and/or give the operand that decides, as in Python; on arrays element by element."""

    def run(env: Env) -> Any:
        out = runs[0](env)
        for following in runs[1:]:
            if isinstance(out, np.ndarray):
                decided = out.astype(np.bool_) != both
                out = np.where(decided, out, following(env))
            elif bool(out) != both:
                return out
            else:
                out = following(env)
        return out

    return run


def _compare(tests: list[Callable[[Any, Any], Any]], sides: list[_Node]) -> _Node:
    def run(env: Env) -> Any:
        left = sides[0](env)
        out: Any = True
        for test, side in zip(tests, sides[1:], strict=True):
            right = side(env)
            out = out & test(left, right)
            left = right
        return out if isinstance(out, np.ndarray) else bool(out)

    return run


def _extreme(pick: Any, numbers: tuple[Any, ...]) -> Any:
    out = numbers[0]
    for x in numbers[1:]:
        out = pick(out, x)
    return out if isinstance(out, np.ndarray) else float(out)


def _sqrt(x: Any) -> Any:
    return float(np.sqrt(x)) if isinstance(x, float) else np.sqrt(x)


def _wrap180(degrees: Any) -> Any:
    """The same direction within -180 to 180 degrees."""
    return (degrees + 180.0) % 360.0 - 180.0


def _rate(run: _Node) -> _Node:
    """(last - first) / over_s of the window's samples."""

    def rate(env: Env) -> Any:
        x = np.atleast_1d(_real(run(env)))
        return float(_divide(float(x[-1] - x[0]), 3600.0 * float(_lookup("hours")(env))))

    return rate


def _moved_km(latitude: _Node, longitude: _Node) -> _Node:
    """Great-circle distance (haversine) between the window's first and last position, in km."""

    def moved(env: Env) -> Any:
        lat = np.radians(np.atleast_1d(_real(latitude(env))))
        lon = np.radians(np.atleast_1d(_real(longitude(env))))
        d_lat, d_lon = lat[-1] - lat[0], lon[-1] - lon[0]
        h = np.sin(d_lat / 2) ** 2 + np.cos(lat[0]) * np.cos(lat[-1]) * np.sin(d_lon / 2) ** 2
        return float(2 * _EARTH_KM * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0))))

    return moved


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: _divide,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
_FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "min": (2, 8, lambda *x: _extreme(np.minimum, x)),
    "max": (2, 8, lambda *x: _extreme(np.maximum, x)),
    "abs": (1, 1, abs),
    "sqrt": (1, 1, _sqrt),
    "Tsat": (1, 1, saturation_temperature),
    "wrap180": (1, 1, _wrap180),
}
