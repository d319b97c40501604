"""Languages of the pages. A msgid is the Chinese text itself; English stands in two catalogues beside each other:
starproof.po for the frame, machines and administration, starproof_more.po for trend, alarms, rules, notices, verification.

The language is the cookie `lang`, changed by ?lang=zh or ?lang=en, Chinese unless said otherwise.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from babel.messages.pofile import read_po
from fastapi.requests import HTTPConnection

Language = Literal["zh", "en"]
Translate = Callable[[str], str]

COOKIE = "lang"
CATALOGUES = ("starproof.po", "starproof_more.po")
_LOCALE = Path(__file__).parent / "locale"


def language_of(connection: HTTPConnection) -> Language:
    """Which language to answer in."""
    asked = connection.query_params.get(COOKIE) or connection.cookies.get(COOKIE)
    return "en" if asked == "en" else "zh"


def translator(language: Language) -> Translate:
    """msgid → text of a language; a msgid without one is given as it is."""
    if language == "zh":
        return _same
    known = english()
    return lambda msgid: known.get(msgid) or msgid


@cache
def english() -> Mapping[str, str]:
    """All msgids that have English."""
    out: dict[str, str] = {}
    for name in reversed(CATALOGUES):  # where both have a msgid the frame's counts
        path = _LOCALE / "en" / "LC_MESSAGES" / name
        if path.exists():
            with path.open("rb") as file:
                catalogue = read_po(file)
            out |= {str(one.id): str(one.string) for one in catalogue if one.id and one.string}
    return out


def _same(msgid: str) -> str:
    return msgid
