"""Whatever PyTorch lets a person do to a module works on a cell too: where anyone changes or watches it, it is really called."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from nowcast.model import ConvLSTM, ConvLSTMCell, EncoderForecaster, FCLSTMForecaster, NextFrame, StridedEncoderForecaster
from nowcast.model.fast_path import has_fast_path

STEPS = 4
NETWORKS = {
    "layer": lambda: ConvLSTM(1, [2, 3], 3),
    "encoder_forecaster": lambda: EncoderForecaster(1, [2, 3], 3, 3, 2),
    "encoder_forecaster_strided": lambda: StridedEncoderForecaster(1, [2, 3], 2, [2, 2], [3, 3], 3),
    "fc_lstm": lambda: FCLSTMForecaster(1, [2, 3], [8, 8]),
    "next_frame": lambda: NextFrame(1, [2, 3], [3, 3]),
}


def build(name, seed=0):
    torch.manual_seed(seed)
    return NETWORKS[name]()


def call(network, frames):
    return network(frames)[0] if isinstance(network, ConvLSTM) else network(frames, 2)


def frames_of(*shape, seed=1):
    return torch.rand(*(shape or (2, STEPS, 1, 8, 8)), generator=torch.Generator().manual_seed(seed))


def cells_of(network):
    return [module for module in network.modules() if isinstance(module, ConvLSTMCell)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
def test_a_hook_on_a_cell_is_called_at_each_step(name, kind):
    network, frames = build(name), frames_of()
    expected, calls = call(network, frames), []
    for cell in cells_of(network):
        getattr(cell, kind)(lambda *_: calls.append(1))
    found = call(network, frames)
    found.sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    cells = len(cells_of(network)) // (1 if name in ("layer", "next_frame") else 2)
    # a forecaster's cells take the two forecast steps; next_frame takes the past and one frame that it feeds back
    steps = {"layer": STEPS, "next_frame": STEPS + 1}.get(name, STEPS + 2)
    assert len(calls) == cells * steps


def test_a_hook_on_all_modules_sees_the_cells():
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        call(build("layer"), frames_of())
    finally:
        handle.remove()
    assert seen.count(ConvLSTMCell) == 2 * STEPS


def test_what_a_hook_returns_is_what_goes_on():
    layer, frames = build("layer"), frames_of()
    layer.cells[1].register_forward_hook(lambda cell, args, state: (torch.ones_like(state[0]), state[1]))
    assert (layer(frames)[0] == 1).all()


def sigma(weight):
    return torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item()


@pytest.mark.filterwarnings("ignore:`torch.nn.utils:FutureWarning")
@pytest.mark.parametrize("normalise", [nn.utils.spectral_norm, parametrizations.spectral_norm], ids=["hook", "parametrisation"])
def test_spectral_norm_holds_the_recurrent_weight_at_one_and_trains_it(normalise):
    layer = ConvLSTM(1, 3, 3)
    cell = layer.cells[0]
    cell.weight_hh.data.mul_(10)
    normalise(cell, "weight_hh", n_power_iterations=20)
    layer(frames_of())[0].sum().backward()
    assert sigma(cell.weight_hh) == pytest.approx(1, abs=0.05)
    assert all(weight.grad is not None for weight in layer.parameters())


@pytest.mark.filterwarnings("ignore:`torch.nn.utils:FutureWarning")
@pytest.mark.parametrize("weight", ["weight_ih", "weight_hh", "bias", "peephole"])
@pytest.mark.parametrize("change", [lambda c, w: prune.l1_unstructured(c, w, 0.5), nn.utils.weight_norm], ids=["prune", "weight_norm"])
def test_a_weight_made_by_a_hook_trains_step_after_step(change, weight):
    layer, frames = build("layer"), frames_of()
    change(layer.cells[0], weight)
    optimizer, losses = torch.optim.SGD(layer.parameters(), lr=0.5), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = layer(frames)[0].square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]


def test_a_pruned_layer_takes_the_weights_and_masks_of_another():
    one, other = build("layer", 1), build("layer", 2)
    for layer in (one, other):
        prune.l1_unstructured(layer.cells[0], "weight_hh", 0.5)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other(frames_of()), one(frames_of()))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_traced_network_is_right_for_other_batches_and_grids(name):
    network = build(name).eval()
    wrapped = nn.Module()
    wrapped.network = network
    wrapped.forward = lambda frames: call(network, frames)
    others = [frames_of(3, STEPS, 1, 8, 8)] + ([] if name == "fc_lstm" else [frames_of(2, STEPS, 1, 16, 12), frames_of(1, STEPS, 1, 7, 9)])
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            traced = torch.jit.trace(lambda frames: call(network, frames), frames_of(), check_trace=False) if not gradients else None
            if traced is None:
                traced = torch.jit.trace(lambda frames: call(network, frames), frames_of(), check_trace=False)
            for frames in others:
                torch.testing.assert_close(traced(frames), call(network, frames), rtol=1e-5, atol=1e-6)
            with pytest.raises(RuntimeError):  # a trace has a number of steps of its own
                traced(frames_of(2, STEPS + 1, 1, 8, 8))
