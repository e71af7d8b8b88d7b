"""What `describe` counts, against numbers by hand and against other ways of counting."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from nowcast.model import (
    FCLSTM,
    ConvLSTM1d,
    ConvLSTM2d,
    ConvLSTMCell,
    EncoderForecaster,
    FCLSTMForecaster,
    NextFrame,
    fast_path,
)
from nowcast.model.describe import BETWEEN, Description, LayerRow, describe


def row(described: Description, name: str) -> LayerRow:
    return next(row for row in described.layers if row.name == name)


class Convolutions(TorchDispatchMode):
    """How many images each shape of kernel is convolved with, on the path that runs unwatched."""

    takes_any_path = True

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[tuple[int, ...], int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is torch.ops.aten.convolution:
            shape = tuple(args[1].shape)
            self.images[shape] = self.images.get(shape, 0) + len(args[0])
        return func(*args, **(kwargs or {}))


def kept_by_autograd(model: nn.Module, *inputs: Any) -> int:
    """Bytes of what autograd keeps where the model really runs: storages told apart by their
    address, weights and buffers left out.
    """
    weights = {
        weight.untyped_storage().data_ptr() for weight in (*model.parameters(), *model.buffers())
    }
    kept: dict[int, torch.UntypedStorage] = {}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        model.train()(*inputs)
    return sum(storage.nbytes() for storage in kept.values())


def test_two_layers_by_hand() -> None:
    layer = ConvLSTM2d(1, [2, 3], 3)
    described = describe(layer, (2, 3, 1, 4, 4))
    first, second, between = described.layers
    assert (first.name, second.name, between.name) == ("cells.0", "cells.1", BETWEEN)
    assert (first.kind, first.steps, first.input_shape, second.input_shape) == (
        "ConvLSTM2d",
        3,
        (1, 4, 4),
        (2, 4, 4),
    )
    assert (first.kernel_shape, first.recurrent_kernel_shape, first.peephole_shape) == (
        (8, 1, 3, 3),
        (8, 2, 3, 3),
        (3, 2, 1, 1),
    )
    assert (second.gates_shape, second.cell_shape, second.hidden_shape) == (
        (12, 4, 4),
        (3, 4, 4),
        (3, 4, 4),
    )
    assert first.parameters == 8 * 1 * 9 + 8 * 2 * 9 + 8 + 3 * 2
    assert second.parameters == 12 * 2 * 9 + 12 * 3 * 9 + 12 + 3 * 3
    with Convolutions() as counted, torch.no_grad():
        layer(torch.zeros(2, 3, 1, 4, 4))
    steps = counted.images[8, 1 + 2, 3, 3] // 2  # of X and H together
    assert steps == 2  # H is 0 before the first
    assert first.multiply_adds == 2 * 16 * (3 * 8 * 1 * 9 + steps * 8 * 2 * 9)
    assert second.multiply_adds == 2 * 16 * (3 * 12 * 2 * 9 + steps * 12 * 3 * 9)


def test_gates_have_a_quarter_each_and_g_no_peephole() -> None:
    first = describe(ConvLSTM2d(1, 2, 3), (1, 3, 1, 4, 4)).layers[0]
    assert [part.name for part in first.parts] == ["i", "f", "g", "o"]
    # 2·1·9 + 2·2·9 + 2, and 2 of the peephole
    assert [part.parameters for part in first.parts] == [58, 58, 56, 58]
    assert [part.peephole_shape for part in first.parts] == [(2, 1, 1), (2, 1, 1), None, (2, 1, 1)]
    assert {(p.kernel_shape, p.recurrent_kernel_shape, p.gates_shape) for p in first.parts} == {
        ((2, 1, 3, 3), (2, 2, 3, 3), (2, 4, 4))
    }
    assert {part.multiply_adds for part in first.parts} == {first.multiply_adds // 4}


def test_memory_of_two_convolutions_by_hand() -> None:
    """One frame of 4 × 4 is 64 bytes; two channels between are 128.

    Backward needs what goes into each convolution.
    """
    described = describe(
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 1)), (1, 1, 4, 4)
    )
    assert (
        row(described, BETWEEN).activation_bytes_training,
        row(described, "0").activation_bytes_training,
    ) == (64, 128)
    assert described.activation_bytes_training == 64 + 128
    assert [layer.activation_bytes_forecasting for layer in described.layers] == [
        64 + 128,
        64 + 128 + 64,
        64,
    ]
    assert described.activation_bytes_forecasting == 64 + 128 + 64


@pytest.mark.parametrize(
    ("model", "shape", "lead"),
    [
        (EncoderForecaster(1, [4, 3], 3, 5, 2), (2, 4, 1, 9, 8), 3),
        (FCLSTMForecaster(1, [6, 5], [4, 4]), (2, 4, 1, 4, 4), 3),
        (NextFrame(1, [4, 3], [3, 3]), (2, 4, 1, 6, 6), 3),
        (
            ConvLSTM2d(
                1, [2, 3], 2, stride=2, activation=torch.sin, dropout=0.5, bidirectional=True
            ),
            (2, 4, 1, 6, 6),
            None,
        ),
        (FCLSTM(3, 4, 2), (2, 4, 3), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_it_counts_what_runs_and_the_rows_add_up(
    model: nn.Module, shape: tuple[int, ...], lead: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # FlopCounterMode too is to see the path that really runs
    monkeypatch.setattr(fast_path, "is_watched", lambda inputs: False)
    monkeypatch.setattr(fast_path, "is_untouched", lambda cell: True)
    described = describe(model, shape, lead)
    arguments = (torch.rand(shape), *([] if lead is None else [lead]))
    assert described.parameters == sum(weight.numel() for weight in model.parameters())
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        output = model.eval()(*arguments)
    assert described.output_shape == (output if isinstance(output, Tensor) else output[0]).shape
    assert described.multiply_adds == flops.get_total_flops() // 2
    assert described.activation_bytes_training == kept_by_autograd(model, *arguments)
    assert described.activation_bytes_training == sum(
        layer.activation_bytes_training or 0 for layer in described.layers
    )
    assert described.activation_bytes_forecasting == max(
        layer.activation_bytes_forecasting or 0 for layer in described.layers
    )
    for layer in described.layers:
        if layer.parts:
            assert layer.parameters == sum(part.parameters for part in layer.parts)
            assert layer.multiply_adds == sum(part.multiply_adds for part in layer.parts) > 0


@pytest.mark.parametrize(
    ("model", "frames", "parameters"),
    [
        (lambda: FCLSTMForecaster(1, [2048, 2048], [64, 64]), (1, 1, 1, 64, 64), 142_667_776),
        (lambda: EncoderForecaster(1, [256], 5, 5, 4), (1, 1, 1, 64, 64), 13_524_496),
        (lambda: EncoderForecaster(1, [128, 128], 5, 5, 4), (1, 1, 1, 64, 64), 10_042_896),
        (lambda: EncoderForecaster(1, [128, 64, 64], 5, 5, 4), (1, 1, 1, 64, 64), 7_585_296),
        (lambda: EncoderForecaster(1, [128, 128], 1, 9, 4), (1, 1, 1, 64, 64), 11_550_224),
        (lambda: EncoderForecaster(1, [128, 64, 64], 1, 9, 4), (1, 1, 1, 64, 64), 8_830_480),
        (lambda: EncoderForecaster(1, [64, 64], 3, 3, 2), (1, 5, 1, 100, 100), 896_260),
    ],
)
def test_the_parameters_of_the_paper(model: Any, frames: tuple[int, ...], parameters: int) -> None:
    with torch.device("meta"):
        assert describe(model(), frames, 1).parameters == parameters


def test_shapes_of_stacks_with_strides_projections_and_directions() -> None:
    described = describe(
        ConvLSTM1d(3, [4, 5], 3, stride=2, proj_size=2, bidirectional=True, return_state=False),
        (2, 6, 3, 9),
    )
    assert [layer.input_shape for layer in described.layers] == [
        (3, 9),
        (3, 9),
        (4, 5),
        (4, 5),
        None,
    ]
    assert [layer.hidden_shape for layer in described.layers] == [
        (2, 5),
        (2, 5),
        (2, 3),
        (2, 3),
        None,
    ]
    assert [layer.cell_shape for layer in described.layers] == [
        (4, 5),
        (4, 5),
        (5, 3),
        (5, 3),
        None,
    ]
    projection = described.layers[0].parts[-1]
    assert (projection.name, projection.kernel_shape, projection.parameters) == (
        "projection",
        (2, 4, 1),
        8,
    )
    assert projection.multiply_adds == 2 * 6 * 5 * 8  # batch, steps, pixels, weights
    assert described.output_shape == (2, 6, 4, 3)


def test_torchs_lstm_is_described_alike() -> None:
    ours, theirs = (
        describe(FCLSTM(3, 4, 2, peephole=peephole), (2, 5, 3)) for peephole in (True, False)
    )
    assert [layer.kind for layer in theirs.layers] == ["LSTM", "LSTM", ""]
    for mine, its in zip(ours.layers, theirs.layers, strict=True):
        for name in (
            "steps",
            "input_shape",
            "kernel_shape",
            "recurrent_kernel_shape",
            "gates_shape",
            "cell_shape",
            "hidden_shape",
        ):
            assert getattr(mine, name) == getattr(its, name)
    assert theirs.layers[0].parameters == 4 * 4 * (3 + 4 + 2)  # PyTorch has two biases a gate
    assert theirs.layers[0].multiply_adds == 2 * 5 * 16 * (3 + 4)


def test_steps_add_up_where_a_layer_is_called_again() -> None:
    """Four frames are read and the first forecast made at once; of three, two are fed back."""
    described = describe(NextFrame(1, [2, 2], [3, 3]), (1, 4, 1, 6, 6), 3)
    assert [layer.steps for layer in described.layers[:-2]] == [6, 6, 6]
    assert row(described, "norms.0").kernel_shape == (2,)


def test_a_cell_by_itself_has_gates_too() -> None:
    cell, _ = describe(ConvLSTMCell(1, 2, 3), (1, 1, 4, 4)).layers
    assert (cell.kind, cell.hidden_shape, len(cell.parts)) == ("ConvLSTMCell", (2, 4, 4), 4)


def test_the_model_is_left_as_it_is() -> None:
    layer = ConvLSTM2d(1, 2, 3, return_state=False).eval()
    describe(layer, (1, 2, 1, 4, 4))
    assert not layer.training and not layer.return_state and not layer._forward_hooks
    assert layer.cells[0].weight_hh.device.type == "cpu"


def test_frames_that_do_not_fit_are_the_models_to_refuse() -> None:
    with pytest.raises(ValueError, match="frames: must be"):
        describe(FCLSTMForecaster(1, [2], [4, 4]), (1, 2, 1, 5, 4), 2)
