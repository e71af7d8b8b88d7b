"""What a stranger's graph may not do: loop, call, fill the memory, or compute what nothing can
stop.
"""

import os
import signal
import time
from typing import Any

import numpy as np
import pytest

from nowcast.errors import DataError, TryLaterError
from nowcast.forecast.exported import ExportedForecaster, read_exported
from nowcast.forecast.graphs import GraphError, peak_memory
from nowcast.service.deadline import deadline

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper  # noqa: E402

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name: str, shape: list[int | str] | None, kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, numbers: list[int], kind: int = INT64) -> Any:
    return helper.make_tensor(name, kind, [len(numbers)], numbers)


def model(
    nodes: list[Any],
    constants: list[Any] | None = None,
    infos: list[Any] | None = None,
    **more: Any,
) -> bytes:
    """An ONNX model from `past` (4, 5) to `rates`, whose sizes the file claims to be (4, 5)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [value("past", [4, 5])],
        [value("rates", [4, 5])],
        constants or [],
        value_info=infos or [],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, **more).SerializeToString()
    return content


def body(inputs: list[Any], outputs: list[Any]) -> Any:
    return helper.make_graph(
        [
            helper.make_node("Identity", [i.name], [o.name])
            for i, o in zip(inputs, outputs, strict=True)
        ],
        "b",
        [],
        outputs,
    )


BRANCH = body([value("past", [4, 5])], [value("y", [4, 5])])
SAME = helper.make_node("Identity", ["past"], ["rates"])
NEVER_ENDING = [
    ([helper.make_node("Loop", ["trips", "", "past"], ["rates"], body=BRANCH)], "Loop"),
    ([helper.make_node("If", ["c"], ["rates"], then_branch=BRANCH, else_branch=BRANCH)], "If"),
    ([helper.make_node("Scan", ["past"], ["rates"], body=BRANCH, num_scan_inputs=1)], "Scan"),
    ([helper.make_node("SequenceMap", ["past"], ["rates"], body=BRANCH)], "SequenceMap"),
    ([helper.make_node("RandomNormalLike", ["past"], ["rates"])], "RandomNormalLike"),
    ([helper.make_node("Identity", ["past"], ["rates"], domain="mine")], "mine.Identity"),
    ([helper.make_node("Identity", ["past"], ["rates"], extra=BRANCH)], "attributes other than numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "says"), NEVER_ENDING, ids=[says for _, says in NEVER_ENDING])
def test_an_operator_that_no_exported_model_has_is_refused(nodes: list[Any], says: str) -> None:
    with pytest.raises(GraphError, match=says):
        peak_memory(model(nodes, [constant("trips", [2**62]), constant("c", [1], BOOL)]))


def test_functions_and_sparse_weights_are_refused() -> None:
    function = helper.make_function(
        "mine",
        "F",
        ["a"],
        ["b"],
        [helper.make_node("Identity", ["a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    with pytest.raises(GraphError, match="functions"):
        peak_memory(model([SAME], functions=[function]))
    sparse = onnx.SparseTensorProto(dims=[10**6, 10**6])
    content = onnx.load_model_from_string(model([SAME]))
    content.graph.sparse_initializer.append(sparse)
    with pytest.raises(GraphError, match="sparse"):
        peak_memory(content.SerializeToString())


def test_sizes_are_worked_out_and_not_taken_from_the_file() -> None:
    """The file says that each value has 20 numbers.

    By hand: 20 floats in, 10^12 of them expanded, 4 bytes each.
    """
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["rates"], keepdims=0),
    ]
    assert (
        peak_memory(model(nodes, [constant("shape", [10**6, 10**6])], [value("huge", [4, 5])]))
        == 4 * 10**12 + 80 + 4
    )


def test_an_operator_that_resizes_is_counted_with_what_it_makes() -> None:
    """By hand: 20 floats in, 10^12 of them made, 4 bytes each."""
    nodes = [
        helper.make_node("Resize", ["past", "", "", "shape"], ["huge"], mode="linear"),
        helper.make_node("ReduceMax", ["huge"], ["rates"], keepdims=0),
    ]
    peak = peak_memory(model(nodes, [constant("shape", [10**6, 10**6])]))
    assert peak == 4 * 10**12 + 80


def test_a_size_that_is_known_only_as_it_runs_is_refused_though_the_file_names_one() -> None:
    nodes = [
        helper.make_node("Cast", ["past"], ["whole"], to=INT64),
        helper.make_node("ReduceMax", ["whole"], ["shape"], axes=[0], keepdims=0),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("Identity", ["huge"], ["rates"]),
    ]
    with pytest.raises(GraphError, match="known only at run time"):
        peak_memory(model(nodes, [], [value("huge", [4, 5]), value("shape", [2], INT64)]))


def test_the_peak_is_that_of_values_still_needed() -> None:
    """past, a, b and c of 80 bytes each: `past` is given up after b, so three of them at once."""
    nodes = [
        helper.make_node("Neg", ["past"], ["a"]), helper.make_node("Add", ["a", "past"], ["b"]),
        helper.make_node("Neg", ["b"], ["c"]), helper.make_node("Neg", ["c"], ["rates"]),
    ]  # fmt: skip
    assert peak_memory(model(nodes)) == 3 * 80


def test_a_single_operator_that_adds_up_too_much_is_refused() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["wide"], ["a"]), helper.make_node("ConstantOfShape",
        ["tall"], ["b"]), helper.make_node("MatMul", ["a", "b"], ["rates"]),
    ]  # fmt: skip
    with pytest.raises(GraphError, match="MatMul' adds up 1e\\+15"):
        peak_memory(
            model(nodes, [constant("wide", [10**4, 10**7]), constant("tall", [10**7, 10**4])])
        )


class EndlessSession:
    """Computes until it is told to stop, as ONNX Runtime between two operators."""

    stopped = False

    def run(self, names: list[str], given: dict[str, Any], options: Any) -> list[Any]:
        give_up = time.monotonic() + 20
        while not options.terminate and time.monotonic() < give_up:
            time.sleep(0.01)
        self.stopped = options.terminate
        return [np.zeros(1)]


def test_a_deadline_stops_a_computation_of_onnx_runtime() -> None:
    session, start = EndlessSession(), time.monotonic()
    with pytest.raises(TryLaterError, match="deadline"), deadline(0.2):
        ExportedForecaster({}, session, 1).forecast_along(np.zeros((1, 3, 1, 4, 5), "f4"), None)
    assert session.stopped and time.monotonic() - start < 5
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_a_pipe_and_a_file_of_terabytes_are_no_models(tmp_path: Any) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(Exception, match=r"pipe\.onnx: no such model"):
        read_exported(tmp_path / "pipe.onnx")
    with open(tmp_path / "sparse.onnx", "wb") as file:
        file.truncate(2**42)
    with pytest.raises(DataError, match="larger than any model"):
        read_exported(tmp_path / "sparse.onnx")
