"""`replay` and `assign`: what they print, and the one line they say when they are given nonsense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.unit.cli.objects import abtest
from trimtab.cli.commands import main
from trimtab.evidence.replay import replay
from trimtab.traffic import slots
from trimtab.traffic.state import RouterStatus

SPEC = {
    "arms": [
        {"name": "control", "deployment": "credit", "weight": 50},
        {"name": "gbm", "deployment": "credit-gbm", "weight": 50},
    ],
    "control": "control",
    "objective": {"metric": "Outcome", "minimumEffectPercent": "5"},
    "minSeconds": 3600,
}


def segment(users: int, better: int) -> dict[str, Any]:
    counts = {
        "control": {"users": users, "requests": users, "outcomes": users // 10},
        "gbm": {"users": users, "requests": users, "outcomes": users // 10 + better},
    }
    return {"seconds": 7200, "weights": {"control": 50, "gbm": 50}, "counts": counts}


EXPERIMENT = {"spec": SPEC, "segments": [segment(1_000, 5), segment(40_000, 1_500)]}


def run(*words: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, list(words), input=given)


def refusal(*words: str, given: str | bytes | None = None) -> str:
    """The one line on stderr of a command that exits with 2."""
    result = run(*words, given=given)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    return result.stderr.rstrip()


class TestReplay:
    def test_an_experiment_is_one_list_with_an_object_a_segment(self, tmp_path: Path) -> None:
        file = tmp_path / "one.json"
        file.write_text(json.dumps(EXPERIMENT, indent=2))
        result = run("replay", str(file))
        assert (result.exit_code, result.stderr) == (0, "")
        (line,) = result.stdout.splitlines()
        found = json.loads(line)
        assert found == replay(EXPERIMENT)
        assert [set(item) for item in found] == [
            {"decision", "winner", "arms", "srm", "neededUsers", "reason"},
        ] * 2
        assert (found[-1]["decision"], found[-1]["winner"]) == ("Win", "gbm")

    def test_lines_are_experiments(self, tmp_path: Path) -> None:
        file = tmp_path / "many.jsonl"
        odd = json.dumps({**EXPERIMENT, "note": "a\u2028b"}, ensure_ascii=False)
        file.write_text(f"{json.dumps(EXPERIMENT)}\n\n{odd}\r\n")
        result = run("replay", str(file))
        assert result.exit_code == 0, result.stderr
        assert [json.loads(line) for line in result.stdout.splitlines()] == [replay(EXPERIMENT)] * 2

    @pytest.mark.parametrize(
        ("text", "experiments"),
        [
            (json.dumps(EXPERIMENT), 1),
            (json.dumps(EXPERIMENT, indent=1), 1),
            (f"{json.dumps(EXPERIMENT)}\n{json.dumps(EXPERIMENT)}\n", 2),
            ("\ufeff" + json.dumps(EXPERIMENT), 1),
        ],
    )
    def test_stdin_holds_one_or_many(self, text: str, experiments: int) -> None:
        result = run("replay", "-", given=text)
        assert [json.loads(line) for line in result.stdout.splitlines()] == [replay(EXPERIMENT)] * experiments

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.json", b"", "x.json: it is not JSON: Expecting value at line 1, column 1"),
            ("x.json", b'{\n "spec": ]', "x.json: it is not JSON: Expecting value at line 2, column 10"),
            ("x.json", b"\xff", "x.json: it is not text in UTF-8: byte 0 is none"),
            ("x.json", b"[" * 100_000, "x.json: it is nested too deeply"),
            ("x.json", b"[]", "x.json: the experiment: an object is needed, not list"),
            ("x.json", b'{"spec": NaN}', "x.json: it is not JSON: NaN is no number there"),
            ("x.jsonl", b"\n\n{]", "x.jsonl: line 3: it is not JSON: "),
            ("x.jsonl", b'{"spec": 1}', "x.jsonl: line 1: spec: an object is needed, not int"),
        ],
    )
    def test_what_cannot_be_read_is_named_with_file_and_line(
        self, tmp_path: Path, name: str, content: bytes, message: str
    ) -> None:
        (tmp_path / name).write_bytes(content)
        assert refusal("replay", str(tmp_path / name)).startswith(f"{tmp_path}/{message}")

    def test_a_wrong_field_is_named_with_its_place(self, tmp_path: Path) -> None:
        wrong = {"spec": SPEC, "segments": [segment(100, 1), segment(100, 1)]}
        wrong["segments"][1]["counts"]["gbm"]["errors"] = -1  # type: ignore[index]
        file = tmp_path / "x.jsonl"
        file.write_text(f"{json.dumps(EXPERIMENT)}\n{json.dumps(wrong)}\n")
        result = run("replay", str(file))
        assert result.exit_code == 2
        assert len(result.stdout.splitlines()) == 1, "the experiment before it was judged"
        assert result.stderr == f"{file}: line 2: segments[1].counts.gbm.errors: -1 is not a number of at least 0\n"

    def test_numbers_that_nobody_counts_are_refused(self) -> None:
        absurd = {**EXPERIMENT, "spec": {**SPEC, "objective": {"metric": "Outcome", "minimumEffectPercent": 1e308}}}
        message = refusal("replay", "-", given=json.dumps(absurd))
        assert message.startswith("stdin: line 1: ")

    def test_a_file_that_is_not_there(self) -> None:
        assert refusal("replay", "/nowhere/x.json") == "/nowhere/x.json: it cannot be read: No such file or directory"

    def test_numbers_are_json_even_where_evidence_is_overwhelming(self) -> None:
        sure = {"spec": SPEC, "segments": [segment(10_000_000, 5_000_000)]}
        result = run("replay", "-", given=json.dumps(sure))
        assert result.exit_code == 0, result.stderr
        assert "Infinity" not in result.stdout
        assert "NaN" not in result.stdout


class TestAssign:
    status = RouterStatus.model_validate(
        {
            "salt": "exp-1",
            "control": "a",
            "arms": [
                {"name": "a", "host": "h", "port": 1},
                {"name": "b", "host": "h", "port": 1, "reserved": 4_500, "weight": 1_000},
                {"name": "c", "host": "h", "port": 1, "reserved": 2_000, "weight": 2_000},
            ],
        }
    ).checked()
    users = tuple(f"user-{n}" for n in range(300))

    def test_by_salt_and_weights(self) -> None:
        result = run("assign", "--salt", "exp-1", "--weights", "a=70,b=10/45,c=20", *self.users)
        told = [line.split("\t") for line in result.stdout.splitlines()]
        assert told == [[user, slots.assign(self.status, user)] for user in self.users]
        assert {arm for _, arm in told} == {"a", "b", "c"}

    def test_by_a_live_object_s_routers(self, tmp_path: Path) -> None:
        file = tmp_path / "abt.json"
        file.write_text(json.dumps(abtest()))
        result = run("assign", "-f", str(file), "-o", "json", "anna", "bert")
        status = RouterStatus.model_validate(abtest()["status"]["router"])
        assert json.loads(result.stdout) == [
            {"user": user, "slot": slots.slot(status.salt, user), "arm": slots.assign(status, user)}
            for user in ("anna", "bert")
        ]

    def test_users_come_from_stdin(self) -> None:
        result = run("assign", "--salt", "s", "--weights", "a=100", "-", "last", given="first\n\nsecond user\n")
        assert result.stdout == "first\ta\nsecond user\ta\nlast\ta\n"

    def test_a_byte_order_mark_is_no_part_of_the_first_user(self) -> None:
        shares = ("--salt", "s", "--weights", "a=50,b=50")
        result = run("assign", *shares, "-", given="\ufeffanna\r\nbert\r\n")
        assert result.stdout == run("assign", *shares, "anna", "bert").stdout

    def test_the_control_has_what_others_leave(self) -> None:
        first = run("assign", "--salt", "s", "--weights", "a=50,b=50", *self.users).stdout
        other = run("assign", "--salt", "s", "--weights", "a=50,b=50", "--control", "b", *self.users).stdout
        assert first != other
        assert first.count("\ta") == other.count("\tb")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--salt", "s", "u"], "--salt and --weights go together: an assignment needs both"),
            (["--control", "a", "abt/credit", "u"], "--salt and --weights go together: an assignment needs both"),
            (
                ["--salt", "s", "--weights", "a=100", "-f", "x", "u"],
                "-f: --salt and --weights say it all; leave one or the other out",
            ),
            (["--weights", "a=100", "u"], "--salt and --weights go together: an assignment needs both"),
            (["--salt", "s", "--weights", "a=90,b=20", "u"], "--weights: they sum to 110 percent, and must sum to 100"),
            (
                ["--salt", "s", "--weights", "a=90,b", "u"],
                "--weights: 'b' has no weight: write NAME=PERCENT, or NAME=PERCENT/RESERVED, with commas between: "
                "a=90,b=10",
            ),
            (
                ["--salt", "s", "--weights", "a=90,b=ten", "u"],
                "--weights: 'b=ten' has no number of percent: write NAME=PERCENT, or NAME=PERCENT/RESERVED, "
                "with commas between: a=90,b=10",
            ),
            (
                ["--salt", "s", "--weights", "a=NaN", "u"],
                "--weights: 'a=NaN': percent are from 0 to 100, in steps of 0.01",
            ),
            (
                ["--salt", "s", "--weights", "a=99.999,b=0.001", "u"],
                "--weights: 'a=99.999': percent are from 0 to 100, in steps of 0.01",
            ),
            (["--salt", "s", "--weights", "a=50,a=50", "u"], "--weights: two arms of a router have one name: a, a"),
            (["--salt", "s", "--weights", "A=100", "u"], "--weights: name: String should match pattern"),
            (["--salt", "S!", "--weights", "a=100", "u"], "--salt: String should match pattern"),
            (
                ["--salt", "s", "--weights", "a=100", "--control", "b", "u"],
                "--control: 'b' is none of the arms a",
            ),
            (["--salt", "s", "--weights", "a=100"], "USER: name at least one user, or - to read them from stdin"),
            (["--salt", "s", "--weights", "a=100", ""], "USER '': a user without a name has no arm of his own: "),
            ([], "name an object: abt/NAME or mdep/NAME, or give -f FILE"),
            (["credit", "u"], "'credit' names nothing that can be shown: write abt/NAME or mdep/NAME"),
            (["pod/credit", "u"], "'pod/credit' names nothing that can be shown: write abt/NAME or mdep/NAME"),
        ],
    )
    def test_nonsense_is_refused_with_what_to_write(self, words: list[str], message: str) -> None:
        assert refusal("assign", *words).startswith(message)

    def test_without_routers_nobody_is_assigned(self, tmp_path: Path) -> None:
        obj = abtest()
        del obj["status"]["router"]
        file = tmp_path / "abt.json"
        file.write_text(json.dumps(obj))
        result = run("assign", "-f", str(file), "anna")
        assert result.exit_code == 1
        assert result.stderr == "abt/credit: no routers work for it now, so nobody is assigned to an arm\n"
