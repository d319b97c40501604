"""The judge on paper: simulated machines say so, and nothing that a cloud sends breaks the judge."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier import scene as s
from verifier.states import State


@pytest.mark.parametrize("who", ["machine", "cloud", "points"])
def test_any_one_word_makes_a_machine_simulated(who: str) -> None:
    found = s.scene("m1", "m2")
    if who == "machine":
        found["machine/m1"]["identity"]["simulated"] = True
    elif who == "cloud":
        found["cloud"]["devices"]["body"]["devices"][0]["simulated"] = True
    else:
        found["scope"]["machines"]["m1"]["simulated"] = True
    for finding in s.findings(found):
        assert finding.simulated == (finding.machine == "m1")
        assert ("仿真数据" in finding.zh and "SIMULATED" in finding.en) == finding.simulated


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda x: (
        st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["t", "v", "q", "rows", "id", "uid"]), x, max_size=3)
    ),
    max_leaves=8,
)
PLACES = [
    ("cloud", "devices", "body", "devices"),
    ("cloud", "devices", "body", "devices", 0, "tags"),
    ("cloud", "devices", "body", "devices", 0, "nameplate"),
    ("cloud", "devices", "body", "devices", 0, "edge"),
    ("cloud", "devices", "body", "devices", 0, "tags", 0, "resolution"),
    ("cloud", "devices", "body", "devices", 0, "tags", 0, "deadband"),
    ("cloud", "times", 0, "body"),
    ("cloud", "times", 0, "body", "now_ms"),
    (f"edge/{s.EDGE}", "proof", "body"),
    (f"edge/{s.EDGE}", "proof", "body", "path"),
    (f"edge/{s.EDGE}", "proof", "body", "leaf"),
    ("shown/m1", "latest", "body"),
    ("shown/m1", "latest", "body", "values"),
    ("shown/m1", "latest", "body", "values", "run_state"),
    ("shown/m1", "history", "active_power", 0, "body", "rows"),
    ("shown/m1", "history", "run_state", 0, "body", "rows", 5),
    ("live/m1", "messages", 3, "m", "rows"),
    ("live/m1", "messages", 3, "m", "rows", 0),
    ("live/m1", "messages", 3, "m", "seq"),
    ("live/m1", "messages", 3, "m", "type"),
]
HEALTHY = s.scene()


@settings(max_examples=120, deadline=None)
@given(place=st.sampled_from(PLACES), junk=JSON)
def test_whatever_the_cloud_sends_is_judged_and_is_never_the_verifiers_error(place: tuple[Any, ...], junk: Any) -> None:
    found = copy.deepcopy(HEALTHY)
    at: Any = found
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = junk
    assert all(f.state is not State.ERROR for f in s.findings(found))
