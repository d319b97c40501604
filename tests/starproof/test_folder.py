"""A demo's folder: private, held by one demo, and never one that has other files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from starproof import parent
from starproof.demo import files, layout
from starproof.demo.files import Choices
from starproof.demo.folder import FolderRefusedError, take


def test_a_new_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    os.close(take(tmp_path / "plant", fresh=False))
    assert (tmp_path / "plant").stat().st_mode & 0o777 == 0o700


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FolderRefusedError, match="no demo made"):
        take(tmp_path, fresh=True)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_it_is_held_by_one_demo_until_that_has_ended(tmp_path: Path) -> None:
    held = take(tmp_path, fresh=False)
    (tmp_path / "state").mkdir()
    for fresh in (False, True):
        with pytest.raises(FolderRefusedError, match="already running"):
            take(tmp_path, fresh=fresh)
    assert (tmp_path / "state").exists()
    os.close(held)
    os.close(take(tmp_path, fresh=True))
    assert not (tmp_path / "state").exists()


def test_it_is_held_as_long_as_a_service_runs(tmp_path: Path) -> None:
    held = take(tmp_path, fresh=False)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(held,)) as service:
        os.close(held)
        with pytest.raises(FolderRefusedError, match="already running"):
            take(tmp_path, fresh=False)
        service.communicate()
    os.close(take(tmp_path, fresh=False))


def test_whatever_lies_in_it_is_out_of_reach_of_others(tmp_path: Path) -> None:
    plant = layout.make(tmp_path)
    plant.state.mkdir(mode=0o755)  # as an earlier version left it
    files.write(plant, Choices())
    tops = {path for path in tmp_path.iterdir() if path.is_dir()}
    assert tops == {plant.config, plant.state, plant.logs, plant.verification}
    assert {path.stat().st_mode & 0o777 for path in tops} == {0o700}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_service_whose_parent_is_gone_already_does_not_start() -> None:
    (name,) = parent.mark()
    done = subprocess.run(
        [sys.executable, "-m", "starproof", "broker", "no-such.yaml"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {name: "1"},
        timeout=60,
    )
    assert done.returncode == 1 and "is gone" in done.stderr
