"""The init container: the whole, verified bundle is in place, or nothing that could be taken for one."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from trimtab_serving.bundle import digest_of
from trimtab_serving.fetch import main
from trimtab_serving.store import open_store


@pytest.fixture
def environment(tmp_path: Path, archive: tuple[str, Path]) -> dict[str, str]:
    digest, tar = archive
    uri = (tmp_path / "store").as_uri()
    open_store(uri).put(digest, tar)
    return {
        "TRIMTAB_STORE": uri,
        "TRIMTAB_DIGEST": digest,
        "TRIMTAB_BUNDLE_DIR": str(tmp_path / "bundle"),
        "TRIMTAB_RESULT_PATH": str(tmp_path / "last-words"),
    }


def files(environment: dict[str, str]) -> list[str]:
    root = Path(environment["TRIMTAB_BUNDLE_DIR"])
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def stored(environment: dict[str, str]) -> Path:
    store = Path(environment["TRIMTAB_STORE"].removeprefix("file://"))
    return store / "sha256" / environment["TRIMTAB_DIGEST"].removeprefix("sha256:")


def last_words(environment: dict[str, str]) -> Any:
    return json.loads(Path(environment["TRIMTAB_RESULT_PATH"]).read_text())


def test_the_bundle_is_left_in_place(environment: dict[str, str]) -> None:
    assert main(environment) == 0
    assert files(environment) == ["bundle.json", "example.json", "model.onnx"]
    assert digest_of(environment["TRIMTAB_BUNDLE_DIR"]) == environment["TRIMTAB_DIGEST"]
    assert not Path(environment["TRIMTAB_RESULT_PATH"]).exists()


def test_a_second_run_finds_its_work_done(environment: dict[str, str]) -> None:
    assert main(environment) == 0
    stored(environment).unlink()
    assert main(environment) == 0


@pytest.mark.parametrize("debris", ["model.onnx", "bundle.json", ".incoming/bundle.tar", "model/x"])
def test_what_a_killed_run_left_behind_is_cleared(environment: dict[str, str], debris: str) -> None:
    path = Path(environment["TRIMTAB_BUNDLE_DIR"], debris)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half")
    assert main(environment) == 0
    assert files(environment) == ["bundle.json", "example.json", "model.onnx"]


def test_wrong_bytes_leave_nothing_but_last_words(environment: dict[str, str]) -> None:
    content = stored(environment).read_bytes()
    stored(environment).write_bytes(content[:-1] + b"!")
    assert main(environment) == 10
    assert files(environment) == []
    assert last_words(environment)["reason"] == "DigestMismatch"
    assert environment["TRIMTAB_DIGEST"] in last_words(environment)["message"]


def test_a_wrong_bundle_in_place_does_not_survive_a_failure(environment: dict[str, str]) -> None:
    assert main(environment) == 0
    Path(environment["TRIMTAB_BUNDLE_DIR"], "model.onnx").write_bytes(b"changed")
    stored(environment).unlink()
    assert main(environment) == 10
    assert files(environment) == []
    assert last_words(environment)["reason"] == "BundleMissing"


def test_an_unreachable_store_may_be_tried_again(environment: dict[str, str], proxy: Any) -> None:
    proxy.faults = [500] * 20
    assert main(environment | {"TRIMTAB_STORE": proxy.uri}) == 75
    assert last_words(environment)["reason"] == "StoreUnreachable"
    assert proxy.uri in last_words(environment)["message"]


def test_a_missing_variable_is_named(environment: dict[str, str]) -> None:
    assert main(environment | {"TRIMTAB_STORE": ""}) == 10
    assert last_words(environment) == {
        "schema": 1,
        "reason": "SettingsInvalid",
        "message": "the environment variable TRIMTAB_STORE is not set",
    }


def test_a_full_volume_is_not_the_stores_fault(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", refuse)
    assert main(environment) == 10
    assert last_words(environment)["reason"] == "TooLarge"
    assert "No space left on device; check the volume and its size" in last_words(environment)["message"]
    assert files(environment) == []


def test_a_volume_that_cannot_be_written_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert main(environment | {"TRIMTAB_BUNDLE_DIR": str(tmp_path / "file")}) == 75
    assert "check the volume and its size" in last_words(environment)["message"]
