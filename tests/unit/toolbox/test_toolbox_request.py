"""Flags and variables become one request, or the one that is wrong is named."""

from pathlib import Path
from typing import Any

import pytest

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.request import Request, read_request

LEAST = {"TRIMTAB_SOURCE_URI": "models:/m/1", "TRIMTAB_STORE": "s3://bucket/models"}


def test_the_job_sets_variables() -> None:
    given = {
        "TRIMTAB_FORMAT": "MLflow",
        "TRIMTAB_OPTIMIZE": "Off",
        "TRIMTAB_ALLOW_PICKLE": "true",
        "TRIMTAB_SOURCE_DIGEST": "sha256:" + "a" * 64,
        "TRIMTAB_MAX_BYTES": "1000",
        "TRIMTAB_TIMEOUT_SECONDS": "60",
        "TRIMTAB_RESULT_PATH": "/dev/termination-log",
    }
    assert read_request([], LEAST | given) == Request(
        uri="models:/m/1",
        store="s3://bucket/models",
        format="MLflow",
        optimize=False,
        allow_pickle=True,
        digest="a" * 64,
        max_bytes=1000,
        timeout_seconds=60.0,
        result_path="/dev/termination-log",
    )


def test_a_variable_set_to_nothing_is_the_default() -> None:
    names = ("FORMAT", "OPTIMIZE", "ALLOW_PICKLE", "SOURCE_DIGEST", "MAX_BYTES", "TIMEOUT_SECONDS", "RESULT_PATH")
    empty = {f"TRIMTAB_{name}": "" for name in names}
    assert read_request([], LEAST | empty) == read_request([], LEAST) == Request("models:/m/1", "s3://bucket/models")


def test_a_person_types_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = read_request(["--uri", "https://h/m.onnx", "--store", "my models", "--allow-pickle"], LEAST)
    assert request.uri == "https://h/m.onnx"
    assert request.store == (tmp_path / "my models").as_uri()
    assert request.allow_pickle


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        ([], {"TRIMTAB_STORE": "s3://b"}, "TRIMTAB_SOURCE_URI or --uri is not set"),
        ([], {"TRIMTAB_SOURCE_URI": "models:/m/1"}, "TRIMTAB_STORE or --store is not set"),
        (
            [],
            {"TRIMTAB_FORMAT": "Keras"},
            "TRIMTAB_FORMAT is 'Keras'; it must be one of Auto, MLflow, Sklearn, XGBoost",
        ),
        ([], {"TRIMTAB_OPTIMIZE": "yes"}, "TRIMTAB_OPTIMIZE is 'yes'; it must be one of Auto, Off"),
        ([], {"TRIMTAB_ALLOW_PICKLE": "1"}, "TRIMTAB_ALLOW_PICKLE is '1'; it must be one of true, false"),
        ([], {"TRIMTAB_SOURCE_DIGEST": "abc"}, "TRIMTAB_SOURCE_DIGEST is 'abc'; it must be 64 lower-case hex digits"),
        ([], {"TRIMTAB_MAX_BYTES": "-1"}, "TRIMTAB_MAX_BYTES is '-1'; it must be a number above 0"),
        ([], {"TRIMTAB_TIMEOUT_SECONDS": "nan"}, "TRIMTAB_TIMEOUT_SECONDS is 'nan'; it must be a number above 0"),
        (["--colour"], {}, "unrecognized arguments: --colour; see trimtab-import --help"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], environ: dict[str, Any], says: str) -> None:
    complete = {} if says.endswith("is not set") else LEAST
    with pytest.raises(Failure) as caught:
        read_request(arguments, {**complete, **environ})
    assert caught.value.reason is Reason.SETTINGS_INVALID
    assert says in caught.value.message


def test_help_names_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read_request(["--help"], {})
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name in ("SOURCE_URI", "STORE", "FORMAT", "OPTIMIZE", "ALLOW_PICKLE", "SOURCE_DIGEST", "MAX_BYTES"):
        assert f"[TRIMTAB_{name}]" in " ".join(text.split())
