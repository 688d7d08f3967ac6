"""`kubectl trimtab drift`: two files, a dated file, and what is said of files that make no sense."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from trimtab.cli import drifting
from trimtab.cli.commands import main

KEYS = {"psi", "excess", "pValue", "ks", "wasserstein", "jensenShannon", "drifted"}


def run(*words):
    return CliRunner().invoke(main, ["drift", *map(str, words)])


def table(path, rows, header="age,colour,code"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def drawn(dice, rows, shift=0.0):
    return [(round(dice.gauss(40 + shift, 10), 3), dice.choice("rgb"), dice.choice((1, 2, 3))) for _ in range(rows)]


@pytest.fixture
def reference(tmp_path):
    return table(tmp_path / "R.csv", drawn(random.Random(1), 2_000))


def test_two_files_that_agree_and_two_that_do_not(tmp_path, reference):
    same = table(tmp_path / "same.csv", drawn(random.Random(2), 600))
    other = table(tmp_path / "other.csv", drawn(random.Random(2), 600, shift=10))
    found = json.loads(run("--reference", reference, "--current", same, "--categorical", "code", "--json").stdout)
    assert (found["state"], found["neededRows"], found["quality"]) == ("OK", 0, [])
    assert all(set(told) >= KEYS and not told["drifted"] for told in found["features"].values())
    assert found["features"]["code"]["wasserstein"] is None
    result = run("--reference", reference, "--current", other, "--json")
    found = json.loads(result.stdout)
    assert (found["state"], found["worst"], result.stderr) == ("Critical", ["age"], "")
    assert found["features"]["age"]["wasserstein"] == pytest.approx(1, abs=0.1)
    assert found["features"]["code"]["wasserstein"] is not None


def test_the_table_says_what_is_needed(tmp_path, reference):
    one = table(tmp_path / "one.csv", [(400, "r", 1)])
    lines = run("--reference", reference, "--current", one).stdout.splitlines()
    assert lines[:2] == ["State: InsufficientData, score 0, 1 rows", "199 more rows are needed in the current data"]
    assert lines[3].split() == ["FEATURE", "LEVEL", "PSI", "EXCESS", "P", "KS", "W/SD", "JS"]
    lines = run("--reference", one, "--current", reference).stdout.splitlines()
    assert "199 more rows are needed in the reference" in lines


def test_broken_data_is_told_beside_drift(tmp_path, reference):
    rows = [(age * 10, "purple", code) for age, _, code in drawn(random.Random(3), 300)]
    lines = run("--reference", reference, "--current", table(tmp_path / "c.csv", rows)).stdout.splitlines()
    assert "colour: Unseen: 100.0% are categories that training did not have" in lines
    assert any(line.startswith("age: Unit: ") for line in lines)


def test_columns_that_only_one_file_has_are_noted(tmp_path, reference):
    rows = [(age, code, f"id-{place}") for place, (age, _, code) in enumerate(drawn(random.Random(3), 300))]
    result = run("--reference", reference, "--current", table(tmp_path / "c.csv", rows, "age,code,id"), "--json")
    assert result.stderr.splitlines() == [
        f"{tmp_path}/c.csv: column colour is absent; its values count as missing",
        f"{tmp_path}/c.csv: column id is not in the reference; it is ignored",
    ]
    assert [told["problem"] for told in json.loads(result.stdout)["quality"]] == ["Missing"]


def test_columns_that_can_say_nothing_are_left_out(tmp_path):
    rows = [(1, "", f"id-{place}") for place in range(300)]
    path = table(tmp_path / "R.csv", rows)
    result = run("--reference", path, "--current", path, "--json")
    assert list(json.loads(result.stdout)["features"]) == ["age"]
    assert result.stderr.splitlines() == [
        f"{path}: column colour: the reference has no value in it; it is left out",
        f"{path}: column code: it looks like an identifier: 300 values in 300 rows; it is left out",
    ]


def test_a_column_that_was_left_out_is_not_called_unknown_whatever_its_name(tmp_path):
    path = table(tmp_path / "R.csv", [(f"id-{place}", place % 7) for place in range(300)], "dc:id,x")
    result = run("--reference", path, "--current", path, "--json")
    assert result.stderr.splitlines() == [
        f"{path}: column dc:id: it looks like an identifier: 300 values in 300 rows; it is left out"
    ]


DAYS = 6


def dated(path, shift_after, days=DAYS, header="at,age,colour,code"):
    dice, start = random.Random(4), datetime(2030, 1, 1, tzinfo=UTC)
    rows = []
    for minute in range(0, days * 1440, 2):
        shift = 10 if minute >= shift_after * 1440 else 0
        stamp = (start + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")
        rows += [(stamp, *row) for row in drawn(dice, 1, shift)]
    dice.shuffle(rows)
    return table(path, rows, header)


def test_a_dated_file_is_replayed_and_its_shift_is_found(tmp_path):
    result = run("--replay", dated(tmp_path / "D.csv", 4), "--time", "at")
    looks = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.stderr == f"{tmp_path}/D.csv: the reference is its first 1,080 of 4,320 rows\n"
    assert {look["window"] for look in looks[50:]} <= {"24h", "7d", "6h"}
    begun = [look for look in looks if look["state"] in ("Warning", "Critical")]
    assert "2030-01-05T00:00:00Z" < begun[0]["to"] < "2030-01-06T12:00:00Z"
    assert begun[0]["features"]["age"]["drifted"]
    assert begun[0]["since"] < begun[0]["to"]
    assert looks[0]["state"] == "InsufficientData"
    assert {look["state"] for look in looks if look["to"] < "2030-01-05"} == {"InsufficientData", "OK"}
    assert all(set(told) >= KEYS for look in looks for told in look["features"].values())


def test_a_replay_looks_as_often_as_the_operator(tmp_path):
    looks = [
        json.loads(line) for line in run("--replay", dated(tmp_path / "D.csv", 4), "--time", "at").stdout.splitlines()
    ]
    begun = next(look for look in looks if look["state"] in ("Warning", "Critical"))
    assert begun["window"] != "1h"
    assert datetime.fromisoformat(begun["to"]) - datetime.fromisoformat(begun["since"]) == timedelta(minutes=10)


def test_a_replay_of_a_few_hours_is_judged_as_soon_as_there_are_rows_enough(tmp_path, reference):
    dice, start = random.Random(7), datetime(2030, 1, 1, tzinfo=UTC)
    rows = [(start + timedelta(minutes=minute), *row) for minute, row in enumerate(drawn(dice, 300, shift=10))]
    path = table(tmp_path / "D.csv", rows, "at,age,colour,code")
    lines = run("--replay", path, "--time", "at", "--reference", reference).stdout.splitlines()
    found = [(look["to"][11:16], look["state"], look["look"]) for look in map(json.loads, lines)]
    assert found[:3] == [
        ("00:05", "InsufficientData", "InsufficientData"),
        ("03:20", "OK", "Critical"),
        ("03:30", "Critical", "Critical"),
    ]


def test_a_replay_may_have_a_reference_of_its_own(tmp_path, reference):
    result = run("--replay", dated(tmp_path / "D.csv", 0, days=1), "--time", "at", "--reference", reference)
    looks = [json.loads(line) for line in result.stdout.splitlines()]
    assert (looks[0]["to"], looks[-1]["state"], result.stderr) == ("2030-01-01T00:05:00Z", "Critical", "")


def test_a_reference_by_hour_takes_the_day_s_cycle_for_what_it_is(tmp_path):
    dice, start, rows = random.Random(5), datetime(2030, 1, 1, tzinfo=UTC), []
    for minute in range(4 * 1440):
        night = (minute // 720) % 2
        rows.append(((start + timedelta(minutes=minute)).isoformat(), round(dice.gauss(20 * night, 5), 2)))
    plain = table(tmp_path / "R.csv", [(row[1],) for row in rows[:2880]], "x")
    given = table(tmp_path / "D.csv", rows[2880:], "at,x")
    aware = table(tmp_path / "H.csv", rows[:2880], "at,x")
    states = []
    for path in (plain, aware):
        lines = run("--replay", given, "--time", "at", "--reference", path).stdout.splitlines()
        states.append({json.loads(line)["state"] for line in lines})
    assert "Critical" in states[0]
    assert states[1] == {"InsufficientData", "OK"}


def test_two_dated_files_are_compared_by_the_hour(tmp_path):
    dice, start = random.Random(6), datetime(2030, 1, 1, tzinfo=UTC)

    def rows(minutes):
        times = [start + timedelta(minutes=minute) for minute in minutes]
        return [(at.isoformat(), round(dice.gauss(20 * (at.hour >= 12), 5), 2)) for at in times]

    reference = table(tmp_path / "R.csv", rows(range(2 * 1440)), "at,x")
    nights = table(tmp_path / "N.csv", rows(range(5 * 1440, 5 * 1440 + 300)), "at,x")
    days = table(tmp_path / "D.csv", rows(range(5 * 1440 - 60, 6 * 1440)), "at,x")
    found = [
        json.loads(run("--reference", reference, "--current", nights, "--time", "at", "--json").stdout),
        json.loads(run("--reference", reference, "--current", days, "--time", "at", "--json").stdout),
        json.loads(run("--reference", reference, "--current", nights, "--json").stdout),
    ]
    assert [list(told["features"]) for told in found] == [["x"], ["x"], ["x"]]
    assert [told["state"] for told in found] == ["OK", "OK", "Critical"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give either --current, to compare two files, or --replay, to go through a dated one"),
        (["--current", "R", "--replay", "R"], "give either --current, to compare"),
        (["--current", "R"], "--reference: name the file that --current is compared with"),
        (["--replay", "R"], "--replay needs --time: the rows need their times"),
        (["--reference", "R", "--current", "R", "--time", "at"], "--time: R has no column at, only age, colour, code"),
        (["--replay", "R", "--time", "when"], "--time: R has no column when, only age, colour, code"),
        (["--replay", "R", "--time", "colour"], "R: line 2: colour: 'r' is neither a date and time as 2030-01-31T"),
        (["--reference", "R", "--current", "R", "--categorical", "age,x"], "--categorical: R has no column x, only"),
        (["--reference", "nowhere", "--current", "R"], "nowhere: it cannot be read: No such file or directory"),
        (["--reference", "R", "--current", "other"], "other: it has none of the reference's columns (age, colour"),
        (["--reference", "R", "--current", "empty"], "empty: it is empty; a header with the columns' names is needed"),
        (["--reference", "R", "--current", "bare"], "bare: it has a header and no rows"),
        (["--reference", "R", "--current", "twice"], "twice: two columns are named a"),
        (["--reference", "R", "--current", "unnamed"], "unnamed: column 2 has no name in the header"),
        (["--reference", "R", "--current", "ragged"], "ragged: line 3: 1 values, the header has 2"),
        (["--reference", "R", "--current", "quoted"], "quoted: line 2: it is not CSV: unexpected end of data"),
        (["--reference", "R", "--current", "binary"], "binary: it is not text in UTF-8: byte 0 is none"),
        (["--reference", "void", "--current", "R"], "void: no column of the reference can be compared"),
        (["--replay", "single", "--time", "at"], "single: it needs rows at two times or more: the first quarter is"),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "R", drawn(random.Random(9), 3))
    for name, content in {
        "other": "z\n1\n",
        "empty": "",
        "bare": "a,b\n",
        "twice": "a,a\n1,2\n",
        "unnamed": "a,\n1,2\n",
        "ragged": "a,b\n1,2\n3\n",
        "quoted": 'a,b\n"1,2\n',
        "void": "a,b\nNA,\n",
        "single": "at,b\n2030-01-01,2\n",
    }.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    result = run(*words)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith(message)


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("2030-01-31T12:00:00Z", 1_896_091_200),
        ("2030-01-31 13:00:00+01:00", 1_896_091_200),
        ("2030-01-31", 1_896_048_000),
        ("20300131", 20_300_131),
        ("20300131T120000Z", 1_896_091_200),
        ("9999-12-31T23:59:59-23:00", None),
        ("1896091200", 1_896_091_200),
        ("1896091200.5", 1_896_091_200.5),
        ("1896091200000", 1_896_091_200),
        ("1896091200000000", 1_896_091_200),
        ("yesterday", None),
        ("nan", None),
        ("-5", None),
        ("1e40", None),
    ],
)
def test_times(text, stamp):
    assert drifting.seconds(text) == stamp


def test_a_column_of_nothing_but_dates_without_hyphens_is_one_of_dates():
    assert drifting.times(["20300131", "20300201"]) == [1_896_048_000, 1_896_134_400]
    assert drifting.times(["19991231", "20000101", "20000102", "20000160"])[1] == 20_000_101
    assert drifting.times(["10000101", "10000102"]) == [10_000_101, 10_000_102]
