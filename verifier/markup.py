"""Reading a page as text: elements that carry an id or data, table cells, form fields. No script runs here.

Whatever the page is, reading it ends and takes no more than it is long.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

MAX_ELEMENTS = 20_000


@dataclass(frozen=True, slots=True)
class Form:
    """A form: where it goes, and its fields with the values they came with."""

    action: str
    method: str
    fields: Mapping[str, str]


@dataclass
class Page:
    """`by_id` attributes of the first element of each id; `body` those of <body>; `features` by series ("uid:tag") and
    feature: (data-value, text)."""

    body: dict[str, str] = field(default_factory=dict[str, str])
    by_id: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    features: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict[str, dict[str, tuple[str, str]]])
    forms: list[Form] = field(default_factory=list[Form])


def read_page(text: str) -> Page:
    """What stands in a page."""
    reader = _Reader()
    try:
        reader.feed(text)
        reader.close()
    except (AssertionError, ValueError):  # html.parser on text that is no HTML: what was read until there counts
        pass
    return reader.page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._left = MAX_ELEMENTS
        self._in_features = False
        self._series = ""
        self._cell: tuple[str, str] | None = None
        self._text: list[str] = []
        self._fields: dict[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._left -= 1
        if self._left < 0:
            return
        given = {name: value or "" for name, value in attrs}
        if tag == "body":
            self.page.body = given
        if "id" in given:
            self.page.by_id.setdefault(given["id"], given)
        match tag:
            case "table":
                self._in_features = given.get("id") == "features"
            case "tr":
                self._series = given.get("data-series", "")
            case "td" if self._in_features and self._series and "data-feature" in given:
                self._cell, self._text = (given["data-feature"], given.get("data-value", "")), []
            case "form":
                self._fields = {}
                form = Form(given.get("action", ""), given.get("method", "get").lower(), self._fields)
                self.page.forms.append(form)
            case "input" if self._fields is not None and given.get("name"):
                self._fields[given["name"]] = given.get("value", "")
            case _:
                pass

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "td" and self._cell is not None:
            name, value = self._cell
            self.page.features.setdefault(self._series, {})[name] = (value, "".join(self._text).strip())
            self._cell = None
        elif tag == "table":
            self._in_features = False
        elif tag == "form":
            self._fields = None
