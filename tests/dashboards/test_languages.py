"""Every text of the pages has its English."""

import re
from pathlib import Path

import pytest

from dashboards import i18n, machines
from dashboards.pages import admin, machine
from dashboards.render import environment

CALL = re.compile(r"""_\(\s*(?:"([^"]+)"|'([^']+)')\s*\)""")
TEMPLATES = Path(i18n.__file__).parent / "templates"


@pytest.mark.parametrize("name", sorted(environment().list_templates()))
def test_every_text_of_a_template_has_english(name: str) -> None:
    found = {a or b for a, b in CALL.findall((TEMPLATES / name).read_text(encoding="utf-8"))}
    assert found - i18n.english().keys() == set()


def test_every_name_has_english() -> None:
    tables = (machines.YES_NO, machines.SEVERITIES, machines.REASONS, admin.ROLE_NAMES, admin.ROLE_MEANS)
    found = {text for table in (*tables, admin.ACTIONS, machine.PLATE) for text in table.values()}
    found |= {title for title, _ in machines.GROUPS} | {machines.OTHERS, "页面已过期，请再试一次"}
    assert found - i18n.english().keys() == set()


def test_chinese_is_the_text_itself() -> None:
    assert i18n.translator("zh")("总览") == "总览"
    assert i18n.translator("en")("总览") == "Overview"
    assert i18n.translator("en")("没有译文") == "没有译文"
