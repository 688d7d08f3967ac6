"""The forms a table may come in: matrix or columns, V2 or V1, with values missing or not; and outputs by any name."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.protocol.datatypes import Array
from trimtab_serving.protocol.errors import RequestError
from trimtab_serving.protocol.signature import Signature
from trimtab_serving.protocol.v1 import V1Codec
from trimtab_serving.protocol.v2_codec import V2Codec

LABEL = (Tensor("label", "BYTES", (-1,)), Tensor("probabilities", "FP32", (-1, 2)))
NUMBER = (Tensor("prediction", "FP64", (-1,)),)
PLAIN = (Tensor("X", "FP32", (-1, 2)),)
NAMED = (Tensor("X", "FP32", (-1, 2), ("age", "income")),)
GAPS = (Tensor("X", "FP64", (-1, 2), ("age", "income"), ("income",)),)
PERSON = (
    Tensor("age", "INT64", (-1, 1)),
    Tensor("income", "FP64", (-1, 1), missing=True),
    Tensor("city", "BYTES", (-1, 1), missing=True),
)
NUMBERS = (Tensor("age", "INT64", (-1, 1)), Tensor("income", "FP32", (-1,), missing=True))
TEXTS = (Tensor("city", "BYTES", (-1, 1)), Tensor("land", "BYTES", (-1, 1)))
SCALAR = (Tensor("x", "FP32", (-1,)),)
IMAGE = (Tensor("pixels", "UINT8", (-1, 2, 2)),)


def signature(inputs: Sequence[Tensor], outputs: Sequence[Tensor] = LABEL) -> Signature:
    info = BundleInfo(format="Sklearn", flavor="sklearn", runtime="onnx", inputs=tuple(inputs), outputs=tuple(outputs))
    return Signature(info)


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def v2(inputs: Sequence[Tensor], *tensors: dict[str, Any]) -> dict[str, Array]:
    body = json.dumps({"inputs": tensors}).encode()
    return dict(V2Codec("m", "1", signature(inputs)).decode(body).arrays)


def v1(inputs: Sequence[Tensor], *instances: Any) -> dict[str, Array]:
    return dict(V1Codec(signature(inputs)).decode(json.dumps({"instances": instances}).encode()).arrays)


def plain(arrays: dict[str, Array]) -> dict[str, list[Any]]:
    """The arrays as lists, with None for what is missing."""
    return {name: np.where(array != array, None, array.astype(object)).tolist() for name, array in arrays.items()}


AGE = tensor("age", "INT32", [2, 1], [41, 42])
INCOME = tensor("income", "FP32", [2], [1.5, 2.5])


def test_columns_make_the_matrix_in_the_models_order() -> None:
    got = v2(NAMED, INCOME, tensor("age", "INT16", [2, 1], [41, 42]))
    assert plain(got) == {"X": [[41, 1.5], [42, 2.5]]}
    assert got["X"].dtype == np.float32


def test_the_matrix_is_split_into_columns_of_their_own_types() -> None:
    got = v2(NUMBERS, tensor("input", "FP64", [2, 2], [41, 1.5, 42, None]))
    assert plain(got) == {"age": [[41], [42]], "income": [1.5, None]}
    assert (got["age"].dtype, got["income"].dtype) == (np.int64, np.float32)


def test_a_matrix_of_text_for_columns_of_text() -> None:
    got = v2(TEXTS, tensor("input", "BYTES", [1, 2], ["Bonn", "DE"]))
    assert plain(got) == {"city": [["Bonn"]], "land": [["DE"]]}


@pytest.mark.parametrize(
    ("inputs", "tensors", "message"),
    [
        (NAMED, [AGE, INCOME], "inputs[0].datatype is INT32; the model takes FP32 for input 'age'"),
        (NAMED, [INCOME], "inputs: 'age' is missing; the columns are 'age', 'income'"),
        (NAMED, [INCOME, INCOME], "inputs[1].name 'income' is given twice"),
        (NAMED, [INCOME, tensor("z", "FP32", [2], [1, 2])], "inputs[1].name 'z' is unknown; the columns are 'age'"),
        (
            NAMED,
            [INCOME, tensor("age", "FP32", [1], [1])],
            "inputs: all must have the same number of rows, but there are 'income' 2, 'age' 1",
        ),
        (PLAIN, [INCOME], "inputs[0].name 'income' is unknown; the model takes 'X'"),
        (
            NAMED,
            [tensor("z", "FP32", [2], [1, 2])],
            "inputs[0].name 'z' is unknown; the model takes 'X', 'age', 'income'",
        ),
        (
            NUMBERS,
            [tensor("input", "FP64", [1, 2], [1.5, 1])],
            "inputs[0].data: column 'age' takes whole numbers as INT64",
        ),
        (
            NUMBERS,
            [tensor("input", "FP64", [1, 2], [1, 1e300])],
            "inputs[0].data: column 'income' has a number out of range",
        ),
        (NUMBERS, [tensor("input", "FP64", [1, 2], [None, 1])], "inputs[0].data misses a value in column 'age'"),
        (NUMBERS, [tensor("input", "FP64", [1, 3], [1, 1, 1])], "inputs[0].shape is [1, 3]; the model takes [-1, 2]"),
        (
            PERSON,
            [tensor("input", "FP64", [1, 3], [1, 1, 1])],
            "inputs[0].name 'input' is unknown; the model takes 'age'",
        ),
    ],
)
def test_faults_of_the_other_form(inputs: Sequence[Tensor], tensors: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RequestError) as error:
        v2(inputs, *tensors)
    assert error.value.message.startswith(message)
    assert error.value.status == 400


def test_missing_values_are_nan_to_the_model() -> None:
    got = v2(
        PERSON,
        tensor("age", "INT64", [2, 1], [41, 42]),
        tensor("income", "FP64", [2, 1], [[None], [2.5]]),
        tensor("city", "BYTES", [2, 1], ["Bonn", None]),
    )
    assert plain(got) == {"age": [[41], [42]], "income": [[None], [2.5]], "city": [["Bonn"], [None]]}
    assert isinstance(got["city"][1, 0], float)
    assert plain(v2(GAPS, tensor("X", "FP64", [1, 2], [41, None]))) == {"X": [[41, None]]}
    assert plain(v2(GAPS, tensor("age", "FP64", [1], [41]), tensor("income", "FP64", [1], [None]))) == {
        "X": [[41, None]]
    }


@pytest.mark.parametrize(
    ("inputs", "tensors", "message"),
    [
        (
            PLAIN,
            [tensor("X", "FP32", [1, 2], [1, None])],
            "inputs[0].data[1]: expected a number, got null; the model takes no missing values in input 'X'",
        ),
        (
            TEXTS,
            [tensor("city", "BYTES", [1, 1], [None])],
            "inputs[0].data[0]: expected a string, got null; the model takes no missing values in input 'city'",
        ),
        (
            GAPS,
            [tensor("X", "FP64", [1, 2], [None, 1])],
            "inputs[0].data misses a value in column 'age'; the model needs all of them",
        ),
        (
            GAPS,
            [tensor("age", "FP64", [1], [None])],
            "inputs[0].data[0]: expected a number, got null; the model takes no missing values in input 'age'",
        ),
        (PERSON, [tensor("age", "INT64", [1, 1], [None])], "inputs[0].data[0]: expected a whole number, got null"),
    ],
)
def test_values_that_must_not_be_missing(inputs: Sequence[Tensor], tensors: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RequestError) as error:
        v2(inputs, *tensors)
    assert error.value.message.startswith(message)


def test_bytes_may_hold_nan_only_where_values_may_be_missing() -> None:
    def send(inputs: Sequence[Tensor], datatype: str, *values: float) -> dict[str, Array]:
        tail = np.array(values, "<f8" if datatype == "FP64" else "<f4").tobytes()
        given = {"name": "X", "datatype": datatype, "shape": [1, 2], "parameters": {"binary_data_size": len(tail)}}
        head = json.dumps({"inputs": [given]}).encode()
        return dict(V2Codec("m", "1", signature(inputs)).decode(head + tail, len(head)).arrays)

    assert plain(send(GAPS, "FP64", 1, np.nan)) == {"X": [[1, None]]}
    assert plain(send(GAPS, "FP32", 1, np.nan)) == {"X": [[1, None]]}
    for inputs, datatype, values, message in (
        (GAPS, "FP64", (np.nan, 1), "inputs[0] misses a value in column 'age'; the model needs all of them"),
        (GAPS, "FP64", (1, np.inf), "inputs[0] holds an infinite number; the model takes none"),
        (PLAIN, "FP32", (1, np.nan), "inputs[0] holds NaN; the model takes no missing values in input 'X'"),
    ):
        with pytest.raises(RequestError) as error:
            send(inputs, datatype, *values)
        assert error.value.message == message


@pytest.mark.parametrize(
    ("inputs", "instances", "arrays"),
    [
        (PLAIN, [[1, 2.5], [3, 4]], {"X": [[1, 2.5], [3, 4]]}),
        (PLAIN, [{"X": [1, 2]}], {"X": [[1, 2]]}),
        (NAMED, [{"income": 2.5, "age": 1}], {"X": [[1, 2.5]]}),
        (GAPS, [{"income": None, "age": 1}], {"X": [[1, None]]}),
        (SCALAR, [1, 2, 3.5], {"x": [1, 2, 3.5]}),
        ((Tensor("x", "FP64", (-1, 1)),), [1, 2], {"x": [[1], [2]]}),
        ((Tensor("x", "FP64", (-1, 1)),), [[1], [2]], {"x": [[1], [2]]}),
        (IMAGE, [[[1, 2], [3, 4]]], {"pixels": [[[1, 2], [3, 4]]]}),
        (
            PERSON,
            [[41, 1.5, "Bonn"], [42, None, None]],
            {"age": [[41], [42]], "income": [[1.5], [None]], "city": [["Bonn"], [None]]},
        ),
        (PERSON, [{"city": "Ulm", "age": 41, "income": 1}], {"age": [[41]], "income": [[1]], "city": [["Ulm"]]}),
        (PERSON, [{"city": ["Ulm"], "age": [41], "income": [1]}], {"age": [[41]], "income": [[1]], "city": [["Ulm"]]}),
    ],
)
def test_instances_of_every_form(inputs: Sequence[Tensor], instances: list[Any], arrays: dict[str, list[Any]]) -> None:
    assert plain(v1(inputs, *instances)) == arrays


@pytest.mark.parametrize(
    ("inputs", "instances", "message"),
    [
        (PLAIN, [[1, 2], [1]], "instances[1] has 1 values; the model takes 2"),
        (PLAIN, [[1, "a"]], "instances[0][1]: expected a number, got a string"),
        (PLAIN, [[1, None]], "instances[0][1]: expected a number, got null; the model takes no missing values"),
        (PLAIN, [1], "instances[0]: expected an array, got a whole number"),
        (PLAIN, [{"Y": 1}], "instances[0]: 'X' is missing; the model takes 'X'"),
        (NAMED, [{"age": 1}], "instances[0]: 'income' is missing; the model takes 'age', 'income'"),
        (NAMED, [{"age": 1, "income": 2}, {"age": 1, "z": 2}], "instances[1]: 'income' is missing"),
        (NAMED, [{"age": 1, "income": 2, "z": 3}], "instances[0]: 'z' is unknown; the model takes 'age', 'income'"),
        (NAMED, [{"age": 1, "income": 2}, [1, 2]], "instances[1]: expected an object like the first one"),
        (NAMED, [{"age": "x", "income": 2}], "instances.age[0]: expected a number, got a string"),
        (PERSON, [[41, 1.5]], "instances[0] has 2 values; the model takes 3: 'age', 'income', 'city'"),
        (PERSON, [41], "instances[0]: expected an array of 'age', 'income', 'city', or an object of them"),
        (PERSON, [[41.5, 1, "Bonn"]], "instances.age[0]: expected a whole number, got a number"),
        (PERSON, [[41, 1, 7]], "instances.city[0]: expected a string, got a whole number"),
        (IMAGE, [[[1, 2], [3]]], "instances is ragged; its rows must be of equal length"),
        (IMAGE, [[[1, 2, 3], [3, 4, 5]]], "instances is nested as [1, 2, 3]; the model takes [-1, 2, 2]"),
        (IMAGE, [[[1, 2], [3, 256]]], "instances holds a number out of range for UINT8"),
    ],
)
def test_faults_of_instances(inputs: Sequence[Tensor], instances: list[Any], message: str) -> None:
    with pytest.raises(RequestError) as error:
        v1(inputs, *instances)
    assert error.value.message.startswith(message)
    assert error.value.status == 400


RESULTS = {
    "label": np.array(["no", "yes"], object),
    "probabilities": np.array([[0.75, 0.25], [0.5, 0.5]], np.float32),
    "prediction": np.array([1.5, 2.5]),
    "both": np.array([[1.5, 2.5], [3, 4]]),
    "words": np.array([["a", "b"], ["c", "d"]], object),
}


@pytest.mark.parametrize(
    ("outputs", "asked", "predictions"),
    [
        (LABEL, None, ["no", "yes"]),
        (LABEL, ["predict_proba"], [[0.75, 0.25], [0.5, 0.5]]),
        (LABEL, ["predict", "probabilities"], [{"predict": "no", "probabilities": [0.75, 0.25]}, ...]),
        (NUMBER, None, [1.5, 2.5]),
        ((Tensor("both", "FP64", (-1, 2)),), None, [[1.5, 2.5], [3, 4]]),
        ((Tensor("words", "BYTES", (-1, 2)),), None, [["a", "b"], ["c", "d"]]),
        (
            (Tensor("both", "FP64", (-1, 2)), Tensor("words", "BYTES", (-1, 2))),
            None,
            [{"both": [1.5, 2.5], "words": ["a", "b"]}, ...],
        ),
    ],
)
def test_predictions_of_every_form(outputs: Sequence[Tensor], asked: list[str] | None, predictions: list[Any]) -> None:
    codec = V1Codec(signature(PLAIN, outputs))
    call = codec.decode(json.dumps({"instances": [[1, 2], [3, 4]], "outputs": asked}).encode())
    told = json.loads(codec.encode(call, [RESULTS[name] for name in call.outputs.names]).body)["predictions"]
    assert told[0] == predictions[0]
    assert predictions[1] in (..., told[1])


def test_answers_that_are_not_one_for_each_row_have_no_form_in_v1() -> None:
    codec = V1Codec(signature(PLAIN, (Tensor("each", "FP32", (-1,)), Tensor("mean", "FP32", (4,)))))
    call = codec.decode(json.dumps({"instances": [[1, 2], [3, 4]]}).encode())
    with pytest.raises(RequestError, match="the outputs 'each', 'mean' are not one answer for each row") as error:
        codec.encode(call, [np.zeros(2), np.zeros(4)])
    assert error.value.status == 400


def test_aliases_keep_the_name_they_were_asked_by() -> None:
    codec = V2Codec("m", "1", signature(PLAIN))
    wanted = [{"name": "predict_proba"}, {"name": "label"}]
    request = {"inputs": [tensor("X", "FP32", [1, 2], [1, 2])], "outputs": wanted}
    call = codec.decode(json.dumps(request).encode())
    assert call.outputs.names == ("probabilities", "label")
    told = json.loads(codec.encode(call, [RESULTS[name][:1] for name in call.outputs.names]).body)
    assert [output["name"] for output in told["outputs"]] == ["predict_proba", "label"]


def test_an_output_called_predict_is_itself() -> None:
    known = signature(PLAIN, (Tensor("predict", "FP32", (-1,)), Tensor("label", "BYTES", (-1,))))
    assert known.aliases == {}


@pytest.mark.parametrize(
    ("inputs", "sent", "status", "message"),
    [
        (PLAIN, [1, 2], 500, "the model's output 'prediction' is not finite in row 0, which JSON cannot say"),
        (GAPS, [1, None], 400, "the model has no finite answer for row 0, in which a value is missing"),
    ],
)
@pytest.mark.parametrize("result", [np.nan, np.inf, -np.inf])
def test_answers_that_are_not_finite(
    inputs: Sequence[Tensor], sent: list[Any], status: int, message: str, result: float
) -> None:
    known = signature(inputs, NUMBER)
    datatype = inputs[0].datatype
    for codec, body in (
        (V2Codec("m", "1", known), {"inputs": [tensor("X", datatype, [1, 2], sent)]}),
        (V1Codec(known), {"instances": [sent]}),
    ):
        call = codec.decode(json.dumps(body).encode())  # type: ignore[attr-defined]
        with pytest.raises(RequestError) as error:
            codec.encode(call, [np.array([result])])  # type: ignore[attr-defined]
        assert error.value.message.startswith(message)
        assert error.value.status == status


def test_binary_answers_may_hold_anything() -> None:
    codec = V2Codec("m", "1", signature(PLAIN, NUMBER))
    body = {"inputs": [tensor("X", "FP32", [1, 2], [1, 2])], "parameters": {"binary_data_output": True}, "id": "null"}
    call = codec.decode(json.dumps(body).encode())
    answer, length = codec.encode(call, [np.array([np.nan])])
    assert length is not None
    assert np.isnan(np.frombuffer(answer[length:], "<f8")).all()


def test_the_word_null_in_an_answer_is_no_fault() -> None:
    codec = V2Codec("m", "1", signature(PLAIN, (Tensor("label", "BYTES", (-1,)),)))
    call = codec.decode(json.dumps({"inputs": [tensor("X", "FP32", [1, 2], [1, 2])], "id": "null"}).encode())
    assert b'"null"' in codec.encode(call, [np.array(["null"], object)]).body
