"""The protocol over gRPC with a real process, asked by a client whose messages were compiled from our .proto."""

import importlib.resources
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc_tools.protoc
import numpy as np
import pytest

from tests.contract.test_server_process import (
    NAME,
    ROOT,
    Process,
    Trained,
    environment,
    fetched_environment,
    free_port,
    run,
    serving,
    train,
)
from trimtab_serving.rpc import messages

PROTO = ROOT / "serving-image" / "trimtab_serving" / "rpc" / "inference.proto"


class Client(NamedTuple):
    """Stub and messages, and what is behind them."""

    stub: Any
    pb: Any
    trained: Trained
    server: Process
    channel: Any

    def request(self, rows: int = 1, **change: Any) -> Any:
        values = self.trained.rows[:rows]
        tensor = {"name": "X", "datatype": "FP32", "shape": list(values.shape)} | change
        given = {"contents": {"fp32_contents": values.ravel().tolist()}} | tensor
        return self.pb.ModelInferRequest(model_name=NAME, inputs=[given])

    def raw(self, rows: int = 1, content: bytes | None = None) -> Any:
        values = self.trained.rows[:rows]
        tensor = {"name": "X", "datatype": "FP32", "shape": list(values.shape)}
        given = values.tobytes() if content is None else content
        return self.pb.ModelInferRequest(model_name=NAME, inputs=[tensor], raw_input_contents=[given])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The modules that users of the .proto get."""
    home = tmp_path_factory.mktemp("compiled")
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    arguments = ["", f"-I{PROTO.parent}", f"-I{well_known}", f"--python_out={home}", f"--grpc_python_out={home}"]
    assert grpc_tools.protoc.main([*arguments, str(PROTO)]) == 0
    sys.path.insert(0, str(home))
    try:
        import inference_pb2  # type: ignore[import-not-found]
        import inference_pb2_grpc  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(home))
    return inference_pb2, inference_pb2_grpc


@pytest.fixture(scope="module")
def client(compiled: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    trained = train("onnx", tmp_path_factory.mktemp("bundle"))
    port = free_port()
    given = fetched_environment(trained, tmp_path_factory.mktemp("server")) | {"TRIMTAB_GRPC_PORT": str(port)}
    with serving(given) as server, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Client(compiled[1].GRPCInferenceServiceStub(channel), compiled[0], trained, server, channel)
        assert server.stop() == 0


def test_the_description_is_what_the_proto_compiles_to(tmp_path: Path) -> None:
    target = tmp_path / "description"
    assert grpc_tools.protoc.main(["", f"-I{PROTO.parent}", f"--descriptor_set_out={target}", str(PROTO)]) == 0
    assert target.read_bytes() == messages.DESCRIPTION.read_bytes()


def test_health_and_metadata(client: Client) -> None:
    stub, pb = client.stub, client.pb
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name=NAME, version="3")).ready
    assert stub.ServerMetadata(pb.ServerMetadataRequest()).name == "trimtab"
    told = stub.ModelMetadata(pb.ModelMetadataRequest(name=NAME))
    assert (told.name, list(told.versions), told.platform) == (NAME, ["3"], "onnx_onnxv1")
    assert [(item.name, item.datatype, list(item.shape)) for item in told.inputs] == [("X", "FP32", [-1, 4])]
    assert [item.name for item in told.outputs] == ["label", "probabilities"]


@pytest.mark.parametrize("rows", [1, 150])
def test_predictions_are_the_estimators_in_both_forms(client: Client, rows: int) -> None:
    values, model = client.trained.rows[:rows], client.trained.model
    typed = client.stub.ModelInfer(client.request(rows))
    label, probabilities = typed.outputs
    assert list(label.contents.int64_contents) == model.predict(values).tolist()
    got = np.array(probabilities.contents.fp32_contents).reshape(probabilities.shape)
    np.testing.assert_allclose(got, model.predict_proba(values), atol=1e-6)
    raw = client.stub.ModelInfer(client.raw(rows))
    assert np.frombuffer(raw.raw_output_contents[0], "<i8").tolist() == model.predict(values).tolist()
    assert np.frombuffer(raw.raw_output_contents[1], "<f4").tolist() == list(probabilities.contents.fp32_contents)
    assert (typed.model_name, typed.model_version, raw.outputs[0].HasField("contents")) == (NAME, "3", False)


def test_ids_outputs_and_metadata_are_echoed(client: Client) -> None:
    request = client.request()
    request.id = "mine"
    request.outputs.add(name="predict_proba")
    answer, call = client.stub.ModelInfer.with_call(request, metadata=[("x-request-id", "r-1")])
    assert (answer.id, [output.name for output in answer.outputs]) == ("mine", ["predict_proba"])
    trailing = dict(call.trailing_metadata())
    assert trailing["x-request-id"] == "r-1"
    assert trailing["x-trimtab-revision"] == client.trained.digest[7:19]


FAULTS: list[tuple[str, Any, grpc.StatusCode, str]] = [
    ("shape", {"shape": [1, 3]}, grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].shape is [1, 3]"),
    ("huge", {"shape": [2**62, 4]}, grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].contents has 4 values"),
    ("name", {"name": "Y"}, grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].name 'Y' is unknown"),
    ("datatype", {"datatype": "FLOAT"}, grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].datatype 'FLOAT' is unknown"),
    ("other list", {"datatype": "INT8"}, grpc.StatusCode.INVALID_ARGUMENT, "INT8 needs int_contents"),
    ("FP16", {"datatype": "FP16"}, grpc.StatusCode.INVALID_ARGUMENT, "send raw_input_contents"),
    ("nothing", {"contents": {}}, grpc.StatusCode.INVALID_ARGUMENT, "contents has nothing; FP32 needs fp32_contents"),
    (
        "too few",
        {"contents": {"fp32_contents": [1.0]}},
        grpc.StatusCode.INVALID_ARGUMENT,
        "inputs[0].contents has 1 values; shape [1, 4] needs 4",
    ),
    (
        "not finite",
        {"contents": {"fp32_contents": [1.0, 2.0, float("nan"), 3.0]}},
        grpc.StatusCode.INVALID_ARGUMENT,
        "inputs[0] holds NaN; the model takes no missing values in input 'X'",
    ),
    (
        "out of range",
        {"datatype": "INT8", "contents": {"int_contents": [1, 2, 3, 300]}},
        grpc.StatusCode.INVALID_ARGUMENT,
        "inputs[0].contents holds a number out of range for INT8",
    ),
]


@pytest.mark.parametrize(("change", "code", "message"), [fault[1:] for fault in FAULTS], ids=[f[0] for f in FAULTS])
def test_faults_of_clients(client: Client, change: Any, code: grpc.StatusCode, message: str) -> None:
    refuses(client, client.request(**change), code, message)


def test_faults_of_raw_contents_and_names(client: Client) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    refuses(client, client.raw(content=b"12"), invalid, "inputs[0] has 2 bytes of binary data; shape [1, 4] of FP32")
    both = client.raw()
    both.inputs[0].contents.fp32_contents.append(1.0)
    refuses(client, both, invalid, "inputs[0] has both contents and raw_input_contents")
    more = client.raw()
    more.raw_input_contents.append(b"")
    refuses(client, more, invalid, "raw_input_contents has 2 entries for 1 inputs")
    other = client.request()
    other.model_name = "other"
    refuses(client, other, grpc.StatusCode.NOT_FOUND, "model 'other' is unknown; this server serves 'iris'")
    version = client.request()
    version.model_version = "4"
    refuses(client, version, grpc.StatusCode.NOT_FOUND, "version '4' of model 'iris' is unknown")


def test_bytes_that_are_no_message_are_the_clients_fault(client: Client) -> None:
    before = figures(client)
    with pytest.raises(grpc.RpcError) as error:
        client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(b"\xff\xff\xff")
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    assert error.value.details().startswith("the message is no ModelInferRequest: ")  # type: ignore[attr-defined]
    assert figures(client)["400"] == before.get("400", 0) + 1


def refuses(client: Client, request: Any, code: grpc.StatusCode, message: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        client.stub.ModelInfer(request)
    assert error.value.code() is code  # type: ignore[attr-defined]
    assert message in error.value.details()  # type: ignore[attr-defined]


def test_calls_are_counted_with_those_over_http(client: Client) -> None:
    before = figures(client)
    client.stub.ModelInfer(client.request())
    refuses(client, client.request(name="Y"), grpc.StatusCode.INVALID_ARGUMENT, "unknown")
    after = figures(client)
    assert {code: after[code] - before.get(code, 0) for code in after} == {"200": 1, "400": 1}


def figures(client: Client) -> dict[str, float]:
    lines = [
        line for line in client.server.call("/metrics")[1].splitlines() if line.startswith("trimtab_requests_total")
    ]
    return {
        line.split('code="')[1][:3]: float(line.split()[-1])
        for line in lines
        if line.split('code="')[1][:3] in "200 400"
    }


def test_gRPC_is_off_and_not_even_imported_unless_wanted(tmp_path: Path) -> None:  # noqa: N802
    script = "import sys, trimtab_serving.worker; print('grpc' in sys.modules, 'google.protobuf' in sys.modules)"
    given = {"PYTHONPATH": str(ROOT / "serving-image"), "PATH": ""}
    told = subprocess.run([sys.executable, "-c", script], env=given, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]


def test_an_image_without_grpc_says_so(client: Client, tmp_path: Path) -> None:
    (tmp_path / "without" / "grpc").mkdir(parents=True)
    (tmp_path / "without" / "grpc" / "__init__.py").write_text("raise ImportError('No module named grpc')\n")
    given = environment(client.trained, tmp_path, TRIMTAB_GRPC_PORT=str(free_port()))
    assert run("trimtab_serving.fetch", given).returncode == 0
    given["PYTHONPATH"] = f"{tmp_path / 'without'}:{given['PYTHONPATH']}"
    ended = run("trimtab_serving", given)
    assert ended.returncode == 10
    assert "this image has no gRPC" in ended.stderr
    assert "use the toolbox image, or unset it" in (tmp_path / "last-words").read_text()
