"""Feedback: each outcome once, under the revision that predicted, through kills and bounded memory."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.counting.layout import Layout
from trimtab_serving.outcomes import ledger as ledgers
from trimtab_serving.outcomes.feedback import FeedbackDesk
from trimtab_serving.outcomes.ledger import Ledger
from trimtab_serving.outcomes.tally import DELAY_EDGES, REVISIONS, Tally
from trimtab_serving.outcomes.token import Signer
from trimtab_serving.protocol.errors import RequestError

KEY = b"0123456789abcdef"
REVISION = "00ff00ff0123"
NOW = 1_800_000_000.0
DAY = 86400


def info(*classes: Any) -> BundleInfo:
    outputs = (Tensor("label", "INT64", (-1,)),)
    return BundleInfo("ONNX", "onnx", "onnx", (Tensor("x", "FP32", (-1, 1)),), outputs, classes=classes or None)


class Office:
    """A desk with a clock of its own."""

    def __init__(self, path: Path | None = None, *classes: Any) -> None:
        self.now = NOW
        self.tally = Tally(Layout(info(*classes), None), REVISION)
        self.ledger = Ledger(path, self.tally.whole, self.tally.sums)
        self.signer = Signer(KEY, REVISION, lambda: self.now)
        self.desk = FeedbackDesk(self.signer, self.ledger, self.tally, 30 * DAY, lambda: self.now)

    def token(self, score: float = 0.91, label: int = 1, bucket: int = 5, revision: str = REVISION) -> str:
        return Signer(KEY, revision, lambda: self.now).sign(score, label, bucket).decode()

    def post(self, content: Any) -> Any:
        return json.loads(self.desk.take(json.dumps(content).encode()))

    def refused(self, content: Any) -> tuple[int, str]:
        with pytest.raises(RequestError) as error:
            self.post(content)
        return error.value.status, error.value.message

    @property
    def told(self) -> dict[str, Any]:
        return self.desk.document()


@pytest.fixture
def office() -> Office:
    return Office(None, "no", "yes")


def test_an_outcome_and_a_label_each_once(office: Office) -> None:
    token = office.token()
    assert office.post({"token": token, "outcome": 3.5}) == {"accepted": 1, "refused": 0, "errors": []}
    office.now += 3 * DAY
    assert office.post({"token": token, "label": "no"})["accepted"] == 1
    for again in ({"outcome": 3.5}, {"label": "yes"}, {"outcome": 1, "label": "no"}):
        assert office.refused({"token": token, **again})[0] == 409
    (revision,) = office.told["revisions"]
    assert revision["revision"] == "00ff00ff"
    outcomes = revision["outcomes"]
    assert (outcomes["n"][5], outcomes["sum"][5], outcomes["squares"][5]) == (1, 3.5, 12.25)
    assert sum(outcomes["n"]) == 1
    assert revision["confusion"] == [[0, 0], [1, 0]]
    assert (revision["scores"]["n"][45], sum(revision["scores"]["right"])) == (1, 0)
    delay = office.told["delay"]
    assert delay["outcomes"][0] == 1
    assert delay["labels"][DELAY_EDGES.index(4 * DAY)] == 1
    assert office.told["refused"]["replayed"] == 3


def test_a_batch_takes_what_is_good_and_names_the_rest(office: Office) -> None:
    good, late = office.token(), office.token()
    items = [
        {"token": good, "outcome": True},
        {"token": good, "outcome": 1},
        {"token": "x" * 40, "outcome": 1},
        {"token": late, "label": "maybe"},
        {"token": late, "label": "yes"},
    ]
    answer = office.post(items)
    assert (answer["accepted"], answer["refused"]) == (2, 3)
    assert [error["index"] for error in answer["errors"]] == [1, 2, 3]
    assert answer["errors"][2]["error"] == "label is 'maybe'; it must be one of ['no', 'yes']"
    assert office.told["refused"] == {"forged": 1, "expired": 0, "replayed": 1, "revision": 0, "label": 1}


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ({"token": "x", "outcome": 1}, 403, "token is not one this model's servers have signed"),
        ({"outcome": 1}, 400, "token is missing"),
        ({"token": "x"}, 400, "the body: it has neither outcome nor label; give one of them, or both"),
        ([{"token": "x"}], 400, "[0]: it has neither outcome nor label"),
        ({"token": 1, "outcome": 1}, 400, "token: expected a string"),
        ({"token": "x", "outcome": "1"}, 400, "outcome: expected"),
        ({"token": "x", "result": 1}, 400, "the body: object contains unknown field `result`"),
        ([{"token": "x", "outcome": 1}] * 1001, 413, "the batch has 1001 items; at most 1000 are taken at a time"),
    ],
)
def test_faults_are_named(office: Office, content: Any, status: int, message: str) -> None:
    told = office.refused(content)
    assert told[0] == status
    assert told[1].startswith(message)


def test_not_json(office: Office) -> None:
    with pytest.raises(RequestError, match="the body is not valid JSON"):
        office.desk.take(b"\xff")


def test_an_expired_token(office: Office) -> None:
    token = office.token()
    office.now += 30 * DAY + 1
    assert office.refused({"token": token, "outcome": 1}) == (410, "token is older than this server takes")


def test_outcomes_count_under_the_revision_that_predicted(office: Office) -> None:
    for number in range(REVISIONS):
        office.post({"token": office.token(revision=f"{number:012x}"[::-1]), "outcome": 1})
    status, message = office.refused({"token": office.token(revision="ffffffff0000"), "outcome": 1})
    assert (status, message.startswith("the token is of revision ffffffff")) == (409, True)
    assert [sum(table["outcomes"]["n"]) for table in office.told["revisions"]] == [1] * REVISIONS


def test_without_a_user_outcomes_share_a_bucket(office: Office) -> None:
    office.post({"token": office.token(bucket=-1), "outcome": 2})
    assert office.told["revisions"][0]["outcomes"]["n"][99] == 1


def test_the_errors_of_a_regression() -> None:
    office = Office()
    for predicted, truth in ((1.0, 1.5), (2.0, 1.0), (math.nan, 1.0), (0.0, 1e31), (0.0, -1e308)):
        office.post({"token": office.token(predicted, -1), "label": truth})
    sums = {"sum": -0.5, "absolute": 1.5, "squares": 1.25, "fourths": 1.0625}
    assert office.told["revisions"][0]["errors"] == {"n": 2, **sums}
    assert office.refused({"token": office.token(1.0, -1), "label": "high"}) == (
        400,
        "label is 'high'; it must be a finite number",
    )


def test_no_outcome_can_hide_those_of_others(office: Office) -> None:
    status, message = office.refused({"token": office.token(), "outcome": -1e200})
    assert (status, message) == (400, "outcome is -1e+200; it must be from -1e+30 to 1e+30")
    assert office.post([{"token": office.token(), "outcome": 1e30}, {"token": office.token(), "outcome": 1e31}]) == {
        "accepted": 1,
        "refused": 1,
        "errors": [{"index": 1, "error": "outcome is 1e+31; it must be from -1e+30 to 1e+30"}],
    }
    assert office.told["refused"]["label"] == 2
    outcomes = office.told["revisions"][0]["outcomes"]
    assert sum(outcomes["n"]) == 1
    assert math.isfinite(sum(outcomes["squares"]))


def test_a_label_that_no_float_can_hold_is_refused() -> None:
    status, message = Office().refused({"token": Office().token(), "label": 10**400})
    assert status == 400
    assert message.endswith("it must be a finite number")


def test_two_processes_share_one_ledger(tmp_path: Path) -> None:
    one, other = (Office(tmp_path / "outcomes", "no", "yes") for _ in range(2))
    token = one.token()
    one.post({"token": token, "outcome": 1})
    assert other.refused({"token": token, "outcome": 1})[0] == 409
    other.post({"token": other.token(), "outcome": 1})
    assert sum(one.told["revisions"][0]["outcomes"]["n"]) == 2


def test_a_kill_after_counting_leaves_no_token_to_be_used_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(tmp_path / "outcomes", "no", "yes")
    items = [{"token": office.token(), "outcome": 1} for _ in range(3)]

    class Killed(BaseException):
        pass

    def die(self: Ledger, tokens: list[int]) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_enter", die)
        with pytest.raises(Killed):
            office.post(items)
    again = Office(tmp_path / "outcomes", "no", "yes")
    assert again.post([*items, {"token": again.token(), "outcome": 1}])["accepted"] == 1
    assert sum(again.told["revisions"][0]["outcomes"]["n"]) == 4


def test_the_memory_of_tokens_is_bounded_and_covers_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "SLOTS", 64)
    monkeypatch.setattr(ledgers, "HALF", 48)
    office = Office(None, "no", "yes")
    items = [{"token": office.token(), "outcome": 1} for _ in range(400)]
    for item in items:
        office.post(item)
    answer = office.post(items[-48:])
    assert (answer["accepted"], answer["refused"]) == (0, 48)
    assert office.post(items[0])["accepted"] == 1
