"""Pause, resume, promote and abort: the annotations they set, and what they refuse because it would do nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.unit.cli.objects import abtest, modeldeployment
from trimtab.cli.commands import main
from trimtab.cli.errors import Failure
from trimtab.cli.steer import order
from trimtab.core import metadata
from trimtab.core.objects import Object

PAUSED, PROMOTE, ABORT = metadata.ROLLOUT_PAUSED, metadata.PROMOTE, metadata.ABORT


def refusal(verb: str, obj: Object, choice: str = "") -> str:
    with pytest.raises(Failure) as caught:
        order(verb, obj, choice)
    assert caught.value.exit_code == 1
    return caught.value.message


def idle() -> Object:
    obj = modeldeployment()
    obj["status"]["rollout"]["stage"] = "Ended"
    return obj


def decided(decision: str, winner: str = "", *, final: bool, **annotations: str) -> Object:
    obj = abtest(**annotations)
    verdict = {"decision": decision, "winner": winner, "final": final, "reason": "x", "at": "2030-01-02T00:00:00Z"}
    obj["status"]["verdict"] = verdict
    return obj


class TestRollouts:
    def test_pause_and_resume(self) -> None:
        paused = order("pause", modeldeployment(), "")
        assert paused.annotations == {PAUSED: "true"}
        assert (
            paused.effect
            == "the rollout of revision 5e6f7a8b stays at 25 % until it is resumed; harm still sends it back"
        )
        assert order("pause", idle(), "").effect.startswith("the next rollout will wait until it is resumed")
        assert order("resume", modeldeployment(**{PAUSED: "true"}), "").annotations == {PAUSED: None}

    def test_promote_and_abort_mean_the_candidate(self) -> None:
        assert order("promote", modeldeployment(), "").annotations == {PROMOTE: "5e6f7a8b"}
        assert order("promote", modeldeployment(), "5e6f7a8b").annotations == {PROMOTE: "5e6f7a8b"}
        aborted = order("abort", modeldeployment(), "")
        assert aborted.annotations == {ABORT: "5e6f7a8b"}
        assert aborted.effect == (
            "revision 5e6f7a8b loses its traffic to 1a2b3c4d and is not tried again until the target changes"
        )

    def test_who_was_sent_back_is_promoted_only_by_name(self) -> None:
        obj = idle()
        obj["status"]["rollout"].update(outcome="RolledBack", reason="HarmProven", weight=0)
        assert order("promote", obj, "5e6f7a8b").annotations == {PROMOTE: "5e6f7a8b"}
        assert refusal("promote", obj) == (
            "mdep/tumour: revision 5e6f7a8b was rolled back (HarmProven); to give it all traffic nevertheless name it: "
            "--revision 5e6f7a8b"
        )
        other = "mdep/tumour: no rollout is under way; revision 1a2b3c4d serves"
        assert refusal("promote", obj, "0f0f0f0f") == refusal("abort", obj) == other

    def test_the_last_word_counts(self) -> None:
        promoted = modeldeployment(**{ABORT: "5e6f7a8b"})
        assert order("promote", promoted, "").annotations == {PROMOTE: "5e6f7a8b", ABORT: None}
        aborted = modeldeployment(**{PROMOTE: "5e6f7a8b"})
        assert order("abort", aborted, "").annotations == {ABORT: "5e6f7a8b", PROMOTE: None}
        other = modeldeployment(**{ABORT: "0f0f0f0f"})
        assert order("promote", other, "").annotations == {PROMOTE: "5e6f7a8b"}

    @pytest.mark.parametrize(
        ("verb", "obj", "choice", "message"),
        [
            ("pause", modeldeployment(**{PAUSED: "true"}), "", "mdep/tumour: its rollouts are paused already"),
            ("resume", modeldeployment(), "", "mdep/tumour: its rollouts are not paused"),
            ("promote", idle(), "", "mdep/tumour: no rollout is under way; revision 1a2b3c4d serves"),
            ("abort", idle(), "", "mdep/tumour: no rollout is under way; revision 1a2b3c4d serves"),
            (
                "promote",
                modeldeployment(),
                "0f0f0f0f",
                "mdep/tumour: revision 0f0f0f0f is not rolling out; 5e6f7a8b is",
            ),
            (
                "abort",
                {**modeldeployment(), "status": {}},
                "",
                "mdep/tumour: no rollout is under way; nothing serves yet",
            ),
            (
                "promote",
                modeldeployment(**{metadata.PAUSED: "true"}),
                "",
                "mdep/tumour: nothing is done while its annotation trimtab.dev/paused is true; remove that",
            ),
        ],
    )
    def test_what_would_do_nothing_is_refused(self, verb: str, obj: Object, choice: str, message: str) -> None:
        assert refusal(verb, obj, choice) == message


class TestExperiments:
    def test_an_arm_is_promoted(self) -> None:
        promoted = order("promote", abtest(), "gbm")
        assert promoted.annotations == {PROMOTE: "gbm", ABORT: None}
        assert promoted.effect == "arm gbm gets all users"

    def test_the_winner_is_promoted_where_nobody_is_named(self) -> None:
        assert order("promote", decided("Win", "gbm", final=False), "").annotations[PROMOTE] == "gbm"

    def test_a_decision_may_be_overruled(self) -> None:
        assert order("promote", decided("Win", "gbm", final=True), "control").annotations[PROMOTE] == "control"
        assert order("abort", decided("Win", "gbm", final=True), "").annotations[ABORT] == "0123456789"

    def test_to_abort_names_the_run(self) -> None:
        aborted = order("abort", abtest(), "")
        assert aborted.annotations == {ABORT: "0123456789", PROMOTE: None}
        assert aborted.effect == "run 0123456789 ends without a winner; all users go to the control, control"

    @pytest.mark.parametrize(
        ("verb", "obj", "choice", "message"),
        [
            ("promote", abtest(), "", "abt/credit: it has no winner yet; name one of its arms: --arm control | gbm"),
            ("promote", abtest(), "xyz", "abt/credit: it has no arm 'xyz'; it has control, gbm"),
            (
                "promote",
                decided("Promoted", "gbm", final=True),
                "gbm",
                "abt/credit: arm gbm has all users already (Promoted)",
            ),
            (
                "abort",
                decided("Aborted", final=True),
                "",
                "abt/credit: this run was aborted already, at 2030-01-02T00:00:00Z",
            ),
            (
                "abort",
                {**abtest(), "status": {}},
                "",
                "abt/credit: the experiment has not begun; kubectl describe says what it waits for",
            ),
            (
                "pause",
                abtest(),
                "",
                "abt/credit: spec.suspend says whether it is paused, and the spec is yours: "
                'kubectl patch abt credit --type=merge -p \'{"spec":{"suspend":true}}\'',
            ),
            ("resume", abtest(), "", "abt/credit: it is not suspended"),
        ],
    )
    def test_what_would_do_nothing_is_refused(self, verb: str, obj: Object, choice: str, message: str) -> None:
        assert refusal(verb, obj, choice) == message

    def test_a_word_that_was_said_before_the_run_has_to_be_taken_back_first(self) -> None:
        obj = abtest(**{PROMOTE: "gbm"})
        obj["status"]["run"]["answered"] = {"promote": "gbm"}
        assert refusal("promote", obj, "gbm") == (
            "abt/credit: the annotation promote=gbm is older than this run and is not heard; remove it and try again: "
            "kubectl annotate abt credit trimtab.dev/promote-"
        )


class ApiServer(ThreadingHTTPServer):
    """Two objects behind the API's paths, and the requests that came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        base = "/apis/trimtab.dev/v1alpha1/namespaces/ml"
        self.objects = {f"{base}/abtests/credit": abtest(), f"{base}/modeldeployments/tumour": modeldeployment()}
        self.patches: list[tuple[str, str, Any]] = []
        self.failure: tuple[int, Any] | None = None


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        self._answer(self.path)

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path, _, query = self.path.partition("?")
        self.server.patches.append((query, self.headers["content-type"], body))
        self._answer(path)

    def _answer(self, path: str) -> None:
        found = self.server.objects.get(path)
        status, body = self.server.failure or (200, found)
        if body is None:
            resource, name = path.split("/")[-2:]
            status, body = 404, {"kind": "Status", "message": f'{resource}.trimtab.dev "{name}" not found'}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def api_server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def kubeconfig(tmp_path: Path, api_server: ApiServer) -> Path:
    file = tmp_path / "kubeconfig"
    url = f"http://127.0.0.1:{api_server.server_address[1]}"
    contexts = [
        {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "ml"}},
        {"name": "elsewhere", "context": {"cluster": "c", "user": "u"}},
    ]
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": contexts,
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    file.write_text(json.dumps(whole))
    return file


def run(kubeconfig: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--kubeconfig", str(kubeconfig)])


class TestCluster:
    def test_an_order_becomes_annotations(self, kubeconfig: Path, api_server: ApiServer) -> None:
        result = run(kubeconfig, "promote", "mdep/tumour")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == (
            "mdep/tumour: revision 5e6f7a8b gets all traffic as soon as its pods are ready, whatever the gates say\n"
        )
        body = {"metadata": {"annotations": {PROMOTE: "5e6f7a8b"}}}
        assert api_server.patches == [("fieldManager=kubectl-trimtab", "application/merge-patch+json", body)]

    def test_an_arm_is_chosen(self, kubeconfig: Path, api_server: ApiServer) -> None:
        assert (
            run(kubeconfig, "promote", "abtests/credit", "--arm", "gbm").stdout
            == "abt/credit: arm gbm gets all users\n"
        )
        assert api_server.patches[0][2] == {"metadata": {"annotations": {PROMOTE: "gbm", ABORT: None}}}

    def test_what_is_refused_writes_nothing(self, kubeconfig: Path, api_server: ApiServer) -> None:
        result = run(kubeconfig, "resume", "mdep/tumour")
        assert (result.exit_code, result.stderr) == (1, "mdep/tumour: its rollouts are not paused\n")
        assert not api_server.patches

    def test_assign_asks_the_live_object(self, kubeconfig: Path) -> None:
        result = run(kubeconfig, "assign", "abt/credit", "anna")
        assert result.stdout in ("anna\tcontrol\n", "anna\tgbm\n")

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (
                ["promote", "mdep/other"],
                1,
                "there is no mdep/other in namespace ml; try -n, or kubectl get mdep -A",
            ),
            (
                ["abort", "abt/credit", "--context", "elsewhere"],
                1,
                "there is no abt/credit in namespace default; try -n, or kubectl get abt -A",
            ),
            (
                ["abort", "abt/credit", "-n", "x"],
                1,
                "there is no abt/credit in namespace x; try -n, or kubectl get abt -A",
            ),
            (
                ["promote", "mdep/tumour", "--arm", "a"],
                2,
                "--arm: mdep/tumour has revisions, not arms; give --revision",
            ),
            (
                ["promote", "abt/credit", "--revision", "a"],
                2,
                "--revision: abt/credit has arms, not revisions; give --arm",
            ),
            (["pause", "tumour"], 2, "'tumour' names nothing that can be shown: write abt/NAME or mdep/NAME"),
            (["pause", "mdep/tumour", "--context", "none"], 1, "there is no usable kubeconfig: "),
        ],
    )
    def test_what_cannot_be_found_is_said_in_one_line(
        self, kubeconfig: Path, words: list[str], code: int, message: str
    ) -> None:
        result = run(kubeconfig, *words)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
        assert result.stderr.startswith(message)

    @pytest.mark.parametrize(
        ("status", "body", "message"),
        [
            (
                403,
                {"message": 'abtests.trimtab.dev "credit" is forbidden: no'},
                'the API server refuses (HTTP 403): abtests.trimtab.dev "credit" is forbidden: no\n',
            ),
            (404, b"404 page not found\n", "the cluster does not know abtests.trimtab.dev: install the chart\n"),
            (500, b"<html>", "the API server refuses (HTTP 500): Internal Server Error\n"),
        ],
    )
    def test_what_the_api_server_refuses(
        self, kubeconfig: Path, api_server: ApiServer, status: int, body: Any, message: str
    ) -> None:
        api_server.failure = status, body
        result = run(kubeconfig, "abort", "abt/credit")
        assert (result.exit_code, result.stderr) == (1, message)

    def test_a_cluster_that_is_away(self, kubeconfig: Path, api_server: ApiServer) -> None:
        config = json.loads(kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
        kubeconfig.write_text(json.dumps(config))
        result = run(kubeconfig, "abort", "abt/credit")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert result.stderr.startswith("the API server does not answer: ")

    def test_no_kubeconfig(self, tmp_path: Path) -> None:
        result = run(tmp_path / "none", "abort", "abt/credit")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert result.stderr.startswith("there is no usable kubeconfig: ")
        assert result.stderr.endswith("set KUBECONFIG or give --kubeconfig\n")
