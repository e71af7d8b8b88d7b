"""A sequence that is learned from in segments: the same numbers, less memory."""

import pytest
import torch

from nowcast.model import ConvLSTM2d, EncoderForecaster
from nowcast.model.unroll import in_segments


def learned(model, frames, *arguments, segmented):
    """→ the result of a model, the gradients of its frames and weights, and the bytes kept for
    back-propagation.
    """
    model.zero_grad()
    frames = frames.clone().requires_grad_()
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with in_segments(segmented), hooks:
        result = model(frames, *arguments)
        output = result if isinstance(result, torch.Tensor) else result[0]
    (output * torch.linspace(0, 1, output.numel()).view(output.shape)).sum().backward()
    gradients = [frames.grad, *(weight.grad for weight in model.parameters())]
    return output.detach(), gradients, sum(kept.values())


MODELS = {
    "layer": (lambda: ConvLSTM2d(2, [8, 8], 3, peephole="channel"), ()),
    "watched": (lambda: ConvLSTM2d(2, 8, 3), ()),
    "forecaster": (lambda: EncoderForecaster(2, [8], 3, 3, patch_size=1), (9,)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_segments_give_the_same_gradients_from_less_memory(kind) -> None:
    torch.manual_seed(0)
    build, arguments = MODELS[kind]
    model, frames = build(), torch.rand(2, 16, 2, 12, 10)
    if kind == "watched":  # and so goes step by step
        model.cells[0].register_forward_hook(lambda *_: None)
    output, gradients, kept = learned(model, frames, *arguments, segmented=False)
    same, others, less = learned(model, frames, *arguments, segmented=True)
    torch.testing.assert_close(same, output)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert less < 0.5 * kept


def test_a_forecast_is_not_computed_in_segments() -> None:
    model, frames = ConvLSTM2d(1, 4, 3), torch.rand(1, 9, 1, 8, 8)
    calls = []
    model.cells[0].register_forward_hook(lambda *_: calls.append(1))
    with in_segments(True), torch.no_grad():
        model(frames)
    assert len(calls) == 9
