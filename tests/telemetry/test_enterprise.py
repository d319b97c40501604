import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.enterprise import ALPHABET, EnterpriseError, check, check_character

# The example of GB 32100-2015 itself, and codes as companies print them on their sites.
KNOWN = ["91350100M000100Y43", "914403001922038216", "9144030071526726XG", "91330100799655058B"]
bodies = st.tuples(
    st.text(ALPHABET, min_size=2, max_size=2),
    st.text("0123456789", min_size=6, max_size=6),
    st.text(ALPHABET, min_size=9, max_size=9),
).map("".join)


@pytest.mark.parametrize("code", KNOWN)
def test_published_codes_are_valid(code: str) -> None:
    assert check(code) == code


@given(bodies)
def test_a_code_with_its_check_character_is_valid(body: str) -> None:
    check(body + check_character(body))


@given(bodies, st.integers(0, 17), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_noticed(body: str, place: int, other: str) -> None:
    code = body + check_character(body)
    wrong = code[:place] + other + code[place + 1 :]
    if wrong != code:
        with pytest.raises(EnterpriseError):
            check(wrong)


@given(bodies, st.integers(0, 16))
def test_neighbours_swapped_are_noticed(body: str, place: int) -> None:
    code = body + check_character(body)
    wrong = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    if wrong != code:
        with pytest.raises(EnterpriseError):
            check(wrong)


@pytest.mark.parametrize(
    "code", ["", "91350100M000100Y4", "91350100M000100Y430", "91350100I000100Y43", "9135O100M000100Y43"]
)
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(EnterpriseError):
        check(code)
