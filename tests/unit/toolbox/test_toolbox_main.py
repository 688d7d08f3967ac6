"""How the program ends: exit code, result file, stdout and stderr each say the same in their own way."""

import json
from pathlib import Path
from typing import Any

import pytest
import skops.io

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox import importer
from trimtab_toolbox.__main__ import main


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SOURCE_URI", "STORE", "FORMAT", "OPTIMIZE", "ALLOW_PICKLE", "SOURCE_DIGEST"):
        monkeypatch.delenv(f"TRIMTAB_{name}", raising=False)
    monkeypatch.setenv("TRIMTAB_RESULT_PATH", str(tmp_path / "result.json"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path / "result.json"


def test_success(web: Any, result: Path, tmp_path: Path, logistic: Any, capsys: pytest.CaptureFixture[str]) -> None:
    skops.io.dump(logistic, tmp_path / "model.skops")
    uri = web.publish(tmp_path / "model.skops")
    assert main(["--uri", uri, "--store", str(tmp_path / "store")]) == 0
    told = json.loads(result.read_bytes())
    assert told["runtime"] == "onnx"
    assert told["sizeBytes"] == (tmp_path / "store/sha256" / told["digest"][7:]).stat().st_size
    printed = capsys.readouterr()
    assert json.loads(printed.out) == told
    assert [json.loads(line)["event"] for line in printed.err.splitlines()] == ["begins", "done"] * 6


def test_a_failure_says_its_reason_everywhere(result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--uri", "ftp://host/m.onnx", "--store", str(tmp_path)]) == 10
    told = json.loads(result.read_bytes())
    assert (told["schema"], told["reason"]) == (1, "UnsupportedFormat")
    printed = capsys.readouterr()
    assert json.loads(printed.out) == told
    last = json.loads(printed.err.splitlines()[-1])
    assert (last["event"], last["reason"], last["message"]) == ("import failed", told["reason"], told["message"])


def test_wrong_settings_are_an_outcome_too(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 10
    assert json.loads(result.read_bytes())["reason"] == "SettingsInvalid"


def test_a_failure_that_may_pass_has_its_own_exit_code(
    result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*arguments: Any) -> None:
        raise Failure(Reason.STORE_UNREACHABLE, "the store is away")

    monkeypatch.setattr(importer, "run_import", unreachable)
    assert main(["--uri", "models:/m/1", "--store", str(tmp_path)]) == 75


def test_what_nobody_foresaw_is_named_without_its_traceback(
    result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def surprise(*arguments: Any) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(importer, "run_import", surprise)
    assert main(["--uri", "models:/m/1", "--store", str(tmp_path)]) == 10
    told = json.loads(result.read_bytes())
    assert told["reason"] == "LoadFailed"
    assert told["message"].startswith("the step 'start' ended with ZeroDivisionError: division by zero")
    assert "Traceback" not in result.read_text()
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_without_a_result_path_only_stdout_is_told(
    result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRIMTAB_RESULT_PATH")
    assert main(["--uri", "ftp://host/m.onnx", "--store", str(tmp_path)]) == 10
    assert not result.exists()
