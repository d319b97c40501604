"""The command line as an engineer types it: help, enrolment, and what is said about mistakes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from starproof.demo import files, layout
from starproof.demo.files import Choices
from starproof.demo.layout import EDGE, ENTERPRISE


def run(*arguments: str | Path, code: int = 0) -> str:
    """Output of `starproof …`, with line breaks of its boxes taken out."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "starproof", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "200", "PATH": "", "TERM": "dumb"},
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> layout.Layout:
    """A demo plant's files, nothing running."""
    made = layout.make(tmp_path_factory.mktemp("plant"))
    files.write(made, Choices())
    return made


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("demo", "--exit"),
        ("broker", "max_payload_bytes"),
        ("simulate", "fault"),
        ("edge", "init"),
        ("ingest", "approve"),
        ("web", "token"),
        ("verify", "plan"),
    ],
)
def test_every_service_has_help(group: str, words: str) -> None:
    assert words in run(group, "--help")


def test_the_front_page_names_every_service() -> None:
    text = run("--help")
    assert all(name in text for name in ("demo", "broker", "simulate", "edge", "ingest", "web", "verify"))


def test_enrolment_from_request_to_pin(plant: layout.Layout, tmp_path: Path) -> None:
    edge, ingest = plant.file("edge.yaml"), plant.file("ingest.yaml")
    (plant.state / "edge" / "cloud-keys.json").unlink()
    said = run("edge", "init", edge, "--request", tmp_path / "request.json")
    code = re.search(r"one-time code ([A-Z2-7-]+)", said)[1]  # type: ignore[index]
    assert code not in (tmp_path / "request.json").read_text(encoding="utf-8")

    wrong = "AAAA-AAAA-AAAA-AAAA"
    approve = ("ingest", "approve", ingest, tmp_path / "request.json", "--grant", tmp_path / "grant.json", "--code")
    assert "one-time code does not fit" in run(*approve, wrong, code=2)
    assert f"approved {ENTERPRISE}/{EDGE}" in run(*approve, code)
    pin = ("edge", "pin", edge, tmp_path / "grant.json", "--code")
    assert "one-time code does not fit" in run(*pin, wrong, code=2)
    changed = json.loads((tmp_path / "grant.json").read_text(encoding="utf-8"))
    changed["receipt_key"] = changed["exchange_key"]
    (tmp_path / "changed.json").write_text(json.dumps(changed), encoding="utf-8")
    assert "changed on the way" in run("edge", "pin", edge, tmp_path / "changed.json", "--code", code, code=2)
    assert not (plant.state / "edge" / "cloud-keys.json").exists()
    assert "pinned" in run(*pin, code)


def test_an_edge_that_is_not_enrolled_says_what_to_do(plant: layout.Layout, tmp_path: Path) -> None:
    text = (
        plant.file("edge.yaml").read_text(encoding="utf-8").replace(str(plant.state / "edge" / "keys"), str(tmp_path))
    )
    (tmp_path / "edge.yaml").write_text(text, encoding="utf-8")
    assert "starproof edge init" in run("edge", "run", tmp_path / "edge.yaml", code=2)


@pytest.mark.parametrize(
    ("group", "name", "change", "message"),
    [
        (("edge", "run"), "edge.yaml", ("state_dir:", "state_dri:"), r"edge.yaml:\d+: state_dri: unknown key"),
        (("edge", "run"), "edge.yaml", ("profile: live", "profile: lively"), r"edge.yaml:\d+: frame.profile: .*'live'"),
        (("ingest", "run"), "ingest.yaml", ("kind: sqlite", "kind: sqlight"), r"ingest.yaml:\d+: historian"),
        (("web", "run"), "web.yaml", ("live_key:", "live_kye:"), r"web.yaml:\d+: live_kye: unknown key"),
        (("simulate", "run"), "plant.yaml", ("solar_time: '11:00'", "solar_time: noon"), r"plant.yaml:\d+: solar_time"),
        (("broker",), "broker.yaml", ("port:", "prot:"), r"broker.yaml:\d+: prot: unknown key"),
        (("verify",), "plan.yaml", ("head_key:", "heady_key:"), r"plan.yaml:\d+: cloud.heady_key: unknown key"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_line_and_key(
    plant: layout.Layout, tmp_path: Path, group: tuple[str, ...], name: str, change: tuple[str, str], message: str
) -> None:
    text = plant.file(name).read_text(encoding="utf-8")
    assert change[0] in text
    (tmp_path / name).write_text(text.replace(*change, 1), encoding="utf-8")
    assert re.search(message, run(*group, tmp_path / name, code=2))


def test_revoking_and_certifying(plant: layout.Layout, tmp_path: Path) -> None:
    from telemetry import keys

    inspector = keys.create_signing_key(tmp_path / "inspector.pem")
    certify = (
        "ingest",
        "certify",
        plant.file("ingest.yaml"),
        keys.to_text(inspector.public),
        "--enterprise",
        ENTERPRISE,
    )
    assert "good for 8 h" in run(*certify, "--name", "王工", "--output", tmp_path / "inspector.cert")
    assert (tmp_path / "inspector.cert").stat().st_size > 100
    assert "there is no edge" in run("ingest", "revoke", plant.file("ingest.yaml"), ENTERPRISE, "nobody", code=2)


def test_the_demo_does_not_touch_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    assert "no demo made" in run("demo", "--exit", "--fresh", "--dir", tmp_path, code=2)
    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"


def test_secrets_are_for_their_owner_only(plant: layout.Layout) -> None:
    secret = [*plant.state.rglob("*.pem"), *plant.state.rglob("*.key"), plant.state / "inspector" / "token"]
    secret += list(plant.state.rglob("*.password"))
    assert len(secret) >= 8
    assert [path for path in secret if path.stat().st_mode & 0o077] == []
