"""The unified social credit code (统一社会信用代码) that names an enterprise, after GB 32100-2015.

Eighteen characters: one for the registering authority, one for the kind of body, six digits of the place, nine of the
organisation code (GB 11714, whose own last character is a check character) and one check character over all. Letters
that look like digits are never used. A typing mistake in one character, or two neighbours swapped, is always noticed.
"""

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100-2015, table 2: no I, O, S, V, Z
LENGTH = 18
_WEIGHTS = tuple(pow(3, i, 31) for i in range(LENGTH - 1))  # GB 32100-2015, annex A: 3^(i-1) mod 31


class EnterpriseError(ValueError):
    """This text is not a unified social credit code."""


def check_character(body: str) -> str:
    """The check character of the first seventeen characters (GB 32100-2015, annex A). Raises EnterpriseError."""
    if len(body) != LENGTH - 1 or any(c not in ALPHABET for c in body):
        raise EnterpriseError(f"expected {LENGTH - 1} characters out of {ALPHABET}")
    total = sum(weight * ALPHABET.index(c) for weight, c in zip(_WEIGHTS, body, strict=True))
    return ALPHABET[-total % 31]


def check(code: str) -> str:
    """`code` itself if it is a valid code; raises EnterpriseError saying what is wrong."""
    if len(code) != LENGTH:
        raise EnterpriseError(f"a unified social credit code has {LENGTH} characters, not {len(code)}")
    wrong = next((c for c in code if c not in ALPHABET), None)
    if wrong is not None:
        raise EnterpriseError(f"{wrong!r} never occurs in a unified social credit code")
    if not code[2:8].isdigit():
        raise EnterpriseError("characters 3 to 8 of a unified social credit code are digits (the place)")
    if check_character(code[:-1]) != code[-1]:
        raise EnterpriseError(
            "the check character of this unified social credit code does not fit: a character is wrong"
        )
    return code
