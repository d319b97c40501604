"""What every test shares."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Time limits belong to whole tests (pytest-timeout): a loaded machine must not make a property fail.
settings.register_profile("starproof", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("starproof")

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs the whole chain in processes of its own: `make test` gives it the machine to itself."""
    for item in items:
        if item.path.relative_to(_HERE).parts[0] in ("chain", "faults"):
            item.add_marker(pytest.mark.chain)
        if item.path.relative_to(_HERE).parts[0] == "browser":
            item.add_marker(pytest.mark.browser)
