"""The expression language: nothing but what is declared, and on it the same answers as Python and numpy."""

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.equipment import equipment_types
from telemetry.expression import MAX_CHARS, Equation, Expression, ExpressionError
from telemetry.steam import saturation_temperature

NAMES = ("a", "b", "c")
numbers = st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 3))


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(pair, st.sampled_from("+-*/")).map(lambda x: f"({x[0][0]} {x[1]} {x[0][1]})"),
        st.tuples(pair, st.sampled_from(["<", "<=", ">", ">=", "==", "!="])).map(
            lambda x: f"({x[0][0]} {x[1]} {x[0][1]})"
        ),
        st.tuples(inner, inner, inner).map(lambda x: f"({x[0]} < {x[1]} <= {x[2]})"),
        st.tuples(pair, st.sampled_from(["and", "or"])).map(lambda x: f"({x[0][0]} {x[1]} {x[0][1]})"),
        inner.map(lambda x: f"(not {x})"),
        inner.map(lambda x: f"(-{x})"),
        st.tuples(inner, st.integers(0, 3)).map(lambda x: f"({x[0]}**{x[1]})"),
        st.tuples(pair, st.sampled_from(["min", "max"])).map(lambda x: f"{x[1]}({x[0][0]}, {x[0][1]})"),
        inner.map(lambda x: f"abs({x})"),
    )


expressions = st.recursive(
    st.one_of(numbers.map(lambda x: f"{abs(x)}"), st.sampled_from(NAMES)), _compound, max_leaves=8
)


@given(text=expressions, values=st.tuples(numbers, numbers, numbers))
@settings(max_examples=400, deadline=None)
def test_the_same_answer_as_python_and_on_arrays(text: str, values: tuple[float, float, float]) -> None:
    if len(text) > MAX_CHARS:
        return
    env = dict(zip(NAMES, values, strict=True))
    try:
        expected = eval(text, {"__builtins__": {}}, {**env, "min": min, "max": max, "abs": abs})
    except (ZeroDivisionError, OverflowError):
        return
    expression = Expression.parse(text)
    got = expression.evaluate(env)
    assert expression.names == {n for n in NAMES if n in text.replace("and", "").replace("abs", "").replace("max", "")}
    assert float(got) == pytest.approx(float(expected), rel=1e-12, abs=1e-12, nan_ok=True)
    arrays = {name: np.array([value, value, 1.0]) for name, value in env.items()}
    column = np.broadcast_to(expression.evaluate(arrays), (3,))
    assert float(column[0]) == pytest.approx(float(expected), rel=1e-9, abs=1e-9, nan_ok=True)
    assert float(column[2]) == pytest.approx(
        float(expression.evaluate(dict.fromkeys(NAMES, 1.0))), nan_ok=True, rel=1e-9
    )


@given(st.one_of(st.text(max_size=60), st.text("ab01.()+-*/<>=! andornotminrate,_e", max_size=60)))
@settings(max_examples=500, deadline=None)
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    for window in (False, True):
        with suppress(ExpressionError):
            assert isinstance(Expression.parse(text, window=window), Expression)
        with suppress(ExpressionError):
            Equation.parse(text, window=window)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "a[0]",
        "a()",
        "__import__('os')",
        "open(a)",
        "abs",
        "abs()",
        "abs(a, b)",
        "min(a)",
        "min(*a)",
        "min(a=1, b=2)",
        "lambda: 1",
        "a if b else c",
        "a in b",
        "a is b",
        "[a]",
        "{a}",
        "(a, b)",
        "a := 1",
        "a = 1",
        "a; b",
        "a\nb",
        "a # b",
        "'a'",
        "1j",
        "True",
        "None",
        "a // b",
        "a % b",
        "a @ b",
        "+a",
        "~a",
        "a & b",
        "a**b",
        "2**17",
        "9**9**9",
        "a**(1+1)",
        "1e999",
        "9" * 399,
        "温度 > 1",
        "ａ > 1",
        "a" * (MAX_CHARS + 1),
        "not " * 40 + "a",
        "(" * 201 + "a",
        "-" * 60 + "a",
        "rate(a)",
        "moved_km(a, b)",
        "always and a",
        "not always",
        "a == always",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        Expression.parse(text)


def test_functions() -> None:
    def value(text: str, **env: float) -> float:
        return Expression.parse(text).evaluate(env)

    assert value("Tsat(1.1013)") == pytest.approx(184.12, abs=0.01)
    assert [value("wrap180(x)", x=x) for x in (0.0, 190.0, -190.0, 359.0, 180.0)] == [0.0, -170.0, 170.0, -1.0, -180.0]
    assert value("sqrt(9)") == 3.0 and math.isnan(value("sqrt(-1)")) and value("min(3, 1, 2)") == 1.0
    assert value("1/0") == math.inf and math.isnan(value("0/0")) and math.isnan(value("(-8)**0.5"))
    assert value("-2**2") == -4.0
    assert Expression.parse("always").evaluate({}) is True and Expression.parse(" always ").always
    assert value("b != 0 and a/b > 1", a=3.0, b=0.0) is False
    with pytest.raises(ExpressionError, match="no value for a"):
        value("a + 1")


def test_saturation_line_of_the_standard() -> None:
    """IAPWS-IF97, table 36."""
    for megapascal, kelvin in ((0.1, 0.372755919e3), (1.0, 0.453035632e3), (10.0, 0.584149488e3)):
        assert saturation_temperature(megapascal) + 273.15 == pytest.approx(kelvin, abs=1e-6)
    assert np.isnan(saturation_temperature(np.array([0.0, 1.0, 30.0]))).tolist() == [True, False, True]
    assert math.isnan(saturation_temperature(0.0))


def test_windows() -> None:
    env = {"x": np.array([1.0, 2.0, 7.0]), "lat": np.array([31.0, 31.5, 32.0]), "lon": np.zeros(3), "hours": 0.5}
    assert Expression.parse("rate(x)", window=True).evaluate(env) == pytest.approx(6.0 / 1800.0)
    assert Expression.parse("moved_km(lat, lon)", window=True).evaluate(env) == pytest.approx(111.195, abs=0.01)
    hours = Expression.parse("x*hours", window=True)
    assert hours.names == {"x"} and hours.window and not Expression.parse("x*hours").window
    assert hours.evaluate(env).tolist() == [0.5, 1.0, 3.5]


def test_equations() -> None:
    equation = Equation.parse("a = b + (c >= 2)")
    assert equation.names == {"a", "b", "c"} and equation.right.text == "b + (c >= 2)"
    for bad in ("a", "a = b = c", "a == b", "= b", "a ="):
        with pytest.raises(ExpressionError):
            Equation.parse(bad)


def test_every_expression_of_the_equipment_file_runs_on_normal_values() -> None:
    for kind in equipment_types().values():
        env = {t.id: t.normal for t in kind.tags}
        columns = {name: np.full(5, value) for name, value in env.items()}
        for control in kind.controls:
            for expression in (*control.pre, *(e for r in control.responses for e in (r.when, *r.expected))):
                one = expression.evaluate({**env, "value": 1.0})
                many = np.broadcast_to(expression.evaluate({**columns, "value": 1.0}), (5,))
                assert np.allclose(np.asarray(many, dtype=float), float(one)), expression.text
