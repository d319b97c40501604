"""The judge on paper, rt.1: each fault of the acquisition link shows as one failure, and blocks the rest."""

from typing import Any

from tests.verifier import scene as s

ALL = {"rt.1", "rt.2", "rt.3", "rt.4", "rt.5"}
DEPENDENT = ALL - {"rt.1"}


def test_the_healthy_plant_passes_everything() -> None:
    found = s.scene("m1", "m2", "m3")
    assert [s.odd(found, uid) for uid in ("m1", "m2", "m3")] == [{}, {}, {}]
    assert all(f.grade == "challenged_live" and "未见证实体设备" in f.zh for f in s.findings(found))
    assert all(f.evidence for f in s.findings(found))


def link_fault(found: dict[str, Any], reason: str) -> None:
    assert s.odd(found) == {"rt.1": f"fail {reason}"}
    assert s.blocked(found) == dict.fromkeys(DEPENDENT, "rt.1")


def test_no_nonce_blocks_everything_else() -> None:
    found = s.scene()
    found[f"edge/{s.EDGE}"] |= {"frame": None}
    link_fault(found, "no_nonce")


def test_a_broker_that_is_away_fails_the_link_of_every_machine() -> None:
    found = s.scene("m1", "m2")
    found[f"edge/{s.EDGE}"] = {"reason": "broker_unreachable"}
    for uid in ("m1", "m2"):
        assert s.odd(found, uid) == {"rt.1": "fail broker_unreachable"}


def test_a_frame_signed_with_another_key() -> None:
    found = s.scene()
    found[f"edge/{s.EDGE}"] = s.challenge(key=s.OTHER_KEY)
    link_fault(found, "frame_wrong_key")


def test_an_edge_without_a_pinned_key() -> None:
    found = s.scene()
    found["scope"]["edge_keys"] = {}
    link_fault(found, "edge_not_pinned")


def test_a_nonce_that_comes_too_late() -> None:
    found = s.scene()
    found[f"edge/{s.EDGE}"]["frame"][0] += 20_000
    link_fault(found, "nonce_late")


def test_a_frame_that_the_ledger_does_not_have() -> None:
    found = s.scene()
    found[f"edge/{s.EDGE}"]["proof"] = s.answer({"error": {}}, 404)
    link_fault(found, "not_in_ledger")


def test_a_head_signed_with_another_key() -> None:
    found = s.scene()
    found[f"edge/{s.EDGE}"] = s.challenge(signed_head=s.OTHER_KEY)
    link_fault(found, "proof_bad_head")


def test_a_proof_that_does_not_verify() -> None:
    found = s.scene()
    body = found[f"edge/{s.EDGE}"]["proof"]["body"]
    body["path"] = body["path"][::-1]
    link_fault(found, "proof_not_included")


def test_a_proof_of_something_else() -> None:
    found = s.scene()
    found[f"edge/{s.EDGE}"]["proof"]["body"]["entry"] = s.challenge()["proof"]["body"]["entry"]
    link_fault(found, "proof_not_this_frame")


def test_a_proof_for_a_size_the_head_does_not_cover() -> None:
    found = s.scene()
    found[f"edge/{s.EDGE}"]["proof"]["body"]["size"] = 4
    link_fault(found, "proof_head_without_shard")


def test_the_cloud_that_does_not_answer() -> None:
    found = s.scene()
    found["cloud"]["devices"] = {**s.answer(None, 0), "reason": "ConnectError"}
    link_fault(found, "cloud_unreachable")


def test_a_machine_the_cloud_does_not_know() -> None:
    found = s.scene()
    found["cloud"]["devices"]["body"]["devices"] = []
    link_fault(found, "not_in_cloud")


def make_silent(found: dict[str, Any], reason: str = "no_reply") -> None:
    found["machine/m1"] |= {"reads": {}, "scans": 0, "silent": [[s.T0, reason]]}
    found["machine/m1"]["identity"] = {"nameplate": {}, "uri": "", "reason": reason, "simulated": False}


def make_bad(found: dict[str, Any]) -> None:
    for point in s.POINTS:
        for row in s.every_row(found, point.tag):
            row[-2], row[-1] = None, 0xA002
        for said in s.every_latest(found, point.tag):
            said |= {"v": None, "q": 0xA002}


def test_a_silent_machine_that_the_cloud_shows_as_bad_is_not_checked() -> None:
    found = s.scene("m1", "m2")
    make_silent(found)
    make_bad(found)
    assert s.odd(found) == {"rt.1": "not_checked machine_silent"}
    assert s.blocked(found) == dict.fromkeys(DEPENDENT, "rt.1")
    assert s.odd(found, "m2") == {}


def test_a_silent_machine_that_the_cloud_shows_as_good_fails() -> None:
    found = s.scene()
    make_silent(found)
    link_fault(found, "silent_but_shown_good")


def test_a_machine_that_refuses_the_verifier_is_not_accused() -> None:
    found = s.scene()
    make_silent(found, "credentials_unusable")
    assert s.odd(found) == {"rt.1": "not_checked no_access"}


def test_a_machine_that_answers_while_the_cloud_is_silent() -> None:
    found = s.scene()
    make_bad(found)
    link_fault(found, "cloud_not_fresh")


def test_another_serial_number_than_the_clouds() -> None:
    found = s.scene()
    found["machine/m1"]["identity"]["nameplate"]["serial"] = "S-other"
    link_fault(found, "identity_differs_from_cloud")


def test_another_serial_number_than_the_signed_list() -> None:
    found = s.scene()
    found["machine/m1"]["identity"]["nameplate"]["serial"] = "S-other"
    found["cloud"]["devices"]["body"]["devices"][0]["nameplate"]["serial"] = "S-other"
    link_fault(found, "identity_differs_from_points")


def test_a_machine_without_a_nameplate_is_a_question_and_all_else_is_judged() -> None:
    found = s.scene()
    found["machine/m1"]["identity"]["nameplate"] = {}
    assert s.odd(found) == {"rt.1": "review identity_not_served"}
    assert s.blocked(found) == {}
