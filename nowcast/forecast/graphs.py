"""Limits for the graph of an exported model: operators whose running time is known beforehand, and
values whose sizes are known beforehand.

Without them, a graph from an unknown source could loop for ever, fill the memory, or run code of
another library.
"""

import math
from collections.abc import Iterator
from typing import Any

OPERATORS = frozenset({
    "Abs", "Add", "And", "ArgMax", "BatchNormalization", "Cast", "CastLike", "Ceil", "Clip",
    "Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "CumSum", "DepthToSpace",
    "Div", "Elu", "Equal", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements",
    "GatherND", "Gemm", "Greater", "GreaterOrEqual", "GridSample", "HardSigmoid", "HardSwish",
    "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul", "Max",
    "Min", "Mul", "Neg", "Not", "Or", "Pad", "Pow", "Range", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "ScatterElements", "Shape",
    "Sigmoid", "Sign", "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split", "Sqrt",
    "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""Arithmetic without loops, conditions, functions or random numbers.

Exported models use about half of these.
"""
MOST_NODES = 100_000
MOST_SUMMANDS = 10**13
"""Products that one operator may add up: a few minutes on a CPU. A computation can be stopped
between two operators.
"""


class GraphError(Exception):
    """The graph has something that no exported model has."""


def peak_memory(content: bytes) -> int:
    """Return the most bytes that the values of an ONNX model take at once, computed in their order.

    Errors: GraphError for an operator or a size that no exported model has; the errors of onnx for
    a file that is not a model.
    """
    import onnx
    import onnx.shape_inference

    model = onnx.load_model_from_string(content)
    _refuse_operators(model)
    del model.graph.value_info[:]  # the sizes that the file claims; they are computed here
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    sizes = dict.fromkeys(shapes, 0)  # constants are stored in the file
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        shapes.setdefault(value.name, _shape(value))
        sizes.setdefault(value.name, _bytes(value, shapes[value.name]))
    for node in inferred.node:
        _refuse_work(node, shapes)
    return max(_in_memory(inferred, sizes), default=0)


def _refuse_operators(model: Any) -> None:
    # FLOAT, INT, STRING, TENSOR, FLOATS, INTS, STRINGS: no subgraphs
    plain = {1, 2, 3, 4, 6, 7, 8}
    graph = model.graph
    if (
        model.functions
        or model.training_info
        or graph.sparse_initializer
        or graph.quantization_annotation
    ):
        raise GraphError("it has functions, training or sparse weights")
    if len(graph.node) > MOST_NODES:
        raise GraphError(f"it has {len(graph.node)} operators")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            raise GraphError(f"it has the operator {f'{node.domain}.{node.op_type}'.lstrip('.')!r}")
        if not plain >= {attribute.type for attribute in node.attribute}:
            raise GraphError(f"its operator {node.op_type!r} has attributes other than numbers")


def _shape(value: Any) -> tuple[int, ...]:
    dimensions = value.type.tensor_type.shape.dim
    known = value.type.tensor_type.HasField("shape") and all(
        one.HasField("dim_value") for one in dimensions
    )
    if not known:
        raise GraphError(f"the size of {value.name!r} is known only at run time")
    return tuple(one.dim_value for one in dimensions)


def _bytes(value: Any, shape: tuple[int, ...]) -> int:
    from onnx.helper import tensor_dtype_to_np_dtype

    return math.prod(shape) * int(
        tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).itemsize
    )


def _refuse_work(node: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """Errors: GraphError for a product of matrices or a convolution that would take too long."""
    if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
        return
    first, second = (shapes[name] for name in node.input[:2])
    made = math.prod(shapes[node.output[0]])
    if node.op_type == "Conv":
        summands = made * math.prod(second[1:])
    elif node.op_type == "ConvTranspose":
        summands = math.prod(first) * math.prod(second[1:])
    else:
        summands = made * max(first, default=1)
    if summands > MOST_SUMMANDS:
        raise GraphError(f"its operator {node.op_type!r} adds up {summands:.0e} products")


def _in_memory(graph: Any, sizes: dict[str, int]) -> Iterator[int]:
    """Yield, after each operator, the bytes of all values that a later operator uses."""
    last = {name: number for number, node in enumerate(graph.node) for name in node.input}
    kept = {value.name for value in graph.output}
    live = sum(sizes[value.name] for value in graph.input)
    for number, node in enumerate(graph.node):
        live += sum(sizes[name] for name in node.output if name)
        yield live
        live -= sum(
            sizes[name]
            for name in {*node.input, *node.output} - kept
            if name and last.get(name, number) == number
        )
