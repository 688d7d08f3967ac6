"""The last words of a container: always JSON, never more than 4,096 bytes, with the contract's exit codes."""

import json
import re
from pathlib import Path

import pytest

from trimtab_serving.outcome import MAX_RESULT_BYTES, Failure, Reason, fit, report

CONTRACT = Path(__file__).parents[3] / "docs" / "contract.md"


def reasons_of_the_contract() -> dict[str, int]:
    sentence = re.search(r"Failure reasons and exit codes: (.*)", CONTRACT.read_text())
    assert sentence is not None
    codes: dict[str, int] = {}
    for code, listed in re.findall(r"(\d+) may (?:not|be tried again) \((.*?)\)", sentence[1]):
        codes.update(dict.fromkeys(re.findall(r"`(\w+)`", listed), int(code)))
    return codes


def test_reasons_and_exit_codes_are_those_of_the_contract() -> None:
    assert {reason.value: Failure(reason, "").exit_code for reason in Reason} == reasons_of_the_contract()


def test_a_short_result_is_written_as_it_is(tmp_path: Path) -> None:
    result = Failure(Reason.BUNDLE_MISSING, "the store has no bundle: é").result()
    report(tmp_path / "log", result)
    assert json.loads((tmp_path / "log").read_bytes()) == {
        "schema": 1,
        "reason": "BundleMissing",
        "message": "the store has no bundle: é",
    }


@pytest.mark.parametrize("text", ["é" * 9000, "\n" * 9000, '"' * 4096, "𝛑\t" * 3000, "x" * 4100])
def test_a_long_message_is_cut_between_characters(text: str) -> None:
    encoded = fit({"schema": 1, "reason": "LoadFailed", "message": text})
    message = json.loads(encoded)["message"]
    assert len(encoded) <= MAX_RESULT_BYTES
    assert message.endswith("…")
    assert text.startswith(message[:-1])
    assert len(message) > 400


def test_columns_are_cut_before_texts_and_counted() -> None:
    columns = [f"column_{index:04d}" for index in range(3000)]
    result = {"digest": "sha256:0", "inputs": [{"name": "x", "columns": columns}], "outputs": [{"name": "y"}]}
    encoded = fit(result)
    tensor = json.loads(encoded)["inputs"][0]
    assert len(encoded) <= MAX_RESULT_BYTES
    assert tensor["columns"] == columns[: len(tensor["columns"])]
    assert len(tensor["columns"]) + tensor["columnsOmitted"] == 3000
    assert len(tensor["columns"]) > 50
    assert result["inputs"][0]["columns"] is columns  # type: ignore[index]


def test_what_cannot_be_cut_is_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="cannot be cut to 4096"):
        fit({"sizes": list(range(5000))})


def test_a_result_that_cannot_be_written_is_said_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(tmp_path / "nowhere" / "log", {"reason": "Timeout"})
    assert "No such file or directory" in capsys.readouterr().err
