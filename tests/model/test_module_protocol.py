"""Whatever PyTorch lets a person do to a module works on a cell too: where anyone changes or
watches it, it is really called.
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from nowcast.model import (
    ConvLSTM,
    ConvLSTMCell,
    EncoderForecaster,
    FCLSTMForecaster,
    NextFrame,
    StridedEncoderForecaster,
)
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
    return torch.rand(
        *(shape or (2, STEPS, 1, 8, 8)), generator=torch.Generator().manual_seed(seed)
    )


def cells_of(network):
    return [module for module in network.modules() if isinstance(module, ConvLSTMCell)]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # of a cell without input
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "kind", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_a_hook_on_a_cell_is_called_at_each_step(name, kind):
    network, frames = build(name), frames_of().requires_grad_()
    expected, calls = call(network, frames), []
    for cell in cells_of(network):
        getattr(cell, kind)(lambda *_: calls.append(1))
    found = call(network, frames)
    found.sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    cells = len(cells_of(network)) // (1 if name in ("layer", "next_frame") else 2)
    # a forecaster's cells take the two forecast steps; next_frame takes the past and one frame that
    # it feeds back
    steps = {"layer": STEPS, "next_frame": STEPS + 1}.get(name, STEPS + 2)
    assert len(calls) == cells * steps


def test_a_hook_on_all_modules_sees_the_cells():
    seen = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, *_: seen.append(type(module))
    )
    try:
        call(build("layer"), frames_of())
    finally:
        handle.remove()
    assert seen.count(ConvLSTMCell) == 2 * STEPS


def test_what_a_hook_returns_is_what_goes_on():
    layer, frames = build("layer"), frames_of()
    layer.cells[1].register_forward_hook(
        lambda cell, args, state: (torch.ones_like(state[0]), state[1])
    )
    assert (layer(frames)[0] == 1).all()


def sigma(weight):
    return torch.linalg.matrix_norm(weight.detach().flatten(1), 2).item()


@pytest.mark.filterwarnings("ignore:`torch.nn.utils:FutureWarning")
@pytest.mark.parametrize(
    "normalise",
    [nn.utils.spectral_norm, parametrizations.spectral_norm],
    ids=["hook", "parametrisation"],
)
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
@pytest.mark.parametrize(
    "change",
    [lambda c, w: prune.l1_unstructured(c, w, 0.5), nn.utils.weight_norm],
    ids=["prune", "weight_norm"],
)
def test_a_weight_made_by_a_hook_trains_step_after_step(change, weight):
    layer, frames = build("layer"), frames_of()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    change(layer.cells[0], weight)
    optimizer, losses = torch.optim.SGD(layer.parameters(), lr=1e-4), []
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


class Forecast(nn.Module):
    """A network of which only the forecast is returned, as tracers want it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, frames):
        return call(self.network, frames)


@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning"
)
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_traced_network_is_right_for_other_batches_and_grids(name, gradients):
    network = Forecast(build(name)).eval()
    grids = [(8, 8)] if name == "fc_lstm" else [(8, 8), (16, 12), (7, 9)]
    with torch.set_grad_enabled(gradients):
        traced = torch.jit.trace(network, frames_of(), check_trace=False)
        for b, grid in [(b, grid) for b in (1, 2, 5) for grid in grids]:
            frames = frames_of(b, STEPS, 1, *grid)
            torch.testing.assert_close(traced(frames), network(frames), rtol=1e-5, atol=1e-6)
        with pytest.raises(RuntimeError):  # a trace has a number of steps of its own
            traced(frames_of(2, STEPS + 1, 1, 8, 8))


@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning"
)
@pytest.mark.parametrize("stride", [2, 3, (2, 1)])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_traced_layer_with_strides_is_right_for_other_grids(stride, kernel, padding):
    layer = Forecast(ConvLSTM(1, 2, 3, input_kernel_size=kernel, stride=stride, padding=padding))
    traced = torch.jit.trace(layer, frames_of(1, 2, 1, 8, 9), check_trace=False)
    for grid in [(9, 8), (12, 11), (6, 7)]:
        frames = frames_of(2, 2, 1, *grid)
        torch.testing.assert_close(traced(frames), layer(frames), rtol=1e-5, atol=1e-6)


class Seen(TorchDispatchMode):
    """The operations that are run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


class Doubled(TorchFunctionMode):
    """A world in which σ is twice as large."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        return 2 * result if func is torch.sigmoid else result


def test_a_mode_that_replaces_an_operation_is_obeyed():
    layer, frames = build("layer"), frames_of()
    plain = layer(frames)[0]
    with Doubled():
        found = layer(frames)[0]
        cell = layer.cells[0](frames[:, 0])[0]
    assert not torch.allclose(found, plain) and not torch.allclose(
        cell, layer.cells[0](frames[:, 0])[0]
    )


def test_a_mode_that_watches_sees_the_equation_and_only_looking_on_is_no_reason_to_leave_the_fast_path():
    cell, frames = ConvLSTMCell(1, 2, 3), frames_of()
    with Seen() as seen:
        assert not has_fast_path(cell, frames)
        cell(frames[:, 0])
    assert seen.names.count("convolution") == 2
    # a function mode too, but one that says only where new tensors go
    torch.set_default_device("cpu")
    try:
        assert has_fast_path(cell, frames)
    finally:
        torch.set_default_device(None)


def test_flops_are_counted_for_each_cell():
    layer = ConvLSTM(1, 2, 3, peephole="none")
    with FlopCounterMode(display=False) as flops:
        layer(frames_of())
    pixels = 2 * STEPS * 64
    assert flops.get_total_flops() == 2 * pixels * 9 * 8 * (1 + 2)
    assert "ConvLSTM2d.cells.0" in flops.get_flop_counts()


def test_a_layer_in_half_precision_is_counted_and_runs_on_as_before():
    # 65,536 numbers of state, from which kernels are compiled
    layer, frames = ConvLSTM(1, 64, 1), torch.rand(1, 2, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        with FlopCounterMode(display=False) as flops:
            layer(frames)[0].float().sum().backward()
        assert flops.get_total_flops() > 0
        with torch.no_grad():
            assert layer(frames)[0].isfinite().all()


def test_a_fake_layer_has_the_shapes_of_a_true_one():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        layer, frames = ConvLSTM(1, [2, 3], 3, bidirectional=True), torch.rand(2, STEPS, 1, 8, 9)
        output, (hidden, cell) = layer(frames)
        assert output.shape == (2, STEPS, 6, 8, 9) and [h.shape for h in (*hidden, *cell)] == 2 * (
            2 * [(2, 2, 8, 9)] + 2 * [(2, 3, 8, 9)]
        )
        output.sum().backward()
        assert all(p.grad.shape == p.shape for p in layer.parameters())
        for lengths in ([1, 3], torch.tensor([1, 3])):
            assert layer(frames, lengths=lengths)[0].shape == output.shape


def test_a_graph_made_by_fx_is_the_layer():
    from torch.fx.experimental.proxy_tensor import make_fx

    layer, frames = build("layer"), frames_of()
    graph = make_fx(lambda x: layer(x)[0])(frames)
    torch.testing.assert_close(graph(2 * frames), layer(2 * frames)[0])


def test_fx_alone_refuses_the_layer():
    with pytest.raises(ValueError, match="cannot trace a recurrent layer; make it a leaf"):
        torch.fx.symbolic_trace(build("layer"))


def test_gradients_of_many_losses_at_once_are_those_of_each():
    layer, frames = ConvLSTM(1, 2, 3).double(), frames_of(1, 3, 1, 4, 4).double().requires_grad_()
    output = layer(frames)[0].sum(dim=(0, 2, 3, 4))
    wanted = [frames, *layer.parameters()]
    together = torch.autograd.grad(
        output, wanted, torch.eye(3).double(), is_grads_batched=True, retain_graph=True
    )
    for k in range(3):
        alone = torch.autograd.grad(output[k], wanted, retain_graph=True)
        torch.testing.assert_close(tuple(gradient[k] for gradient in together), alone)


class Own(torch.Tensor):
    """A class of tensors that only carries its name."""


CHANGES = {
    "subclass": lambda layer: layer.cells.__setitem__(
        0, type("Mine", (ConvLSTMCell,), {})(1, 2, 3)
    ),
    "forward of its own": lambda layer: setattr(layer.cells[0], "forward", layer.cells[0].forward),
    "step of its own": lambda layer: setattr(layer.cells[0], "step", layer.cells[0].step),
    "another activation": lambda layer: setattr(layer.cells[0], "activation", torch.relu),
    "compile()": lambda layer: layer.cells[0].compile(backend="eager"),
    "parametrisation": lambda layer: parametrizations.weight_norm(layer.cells[0], "weight_hh"),
    "no parameter": lambda layer: prune.identity(layer.cells[0], "bias"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_cell_has_no_fast_path(change):
    layer = build("layer")
    assert has_fast_path(layer.cells[0])
    CHANGES[change](layer)
    assert not has_fast_path(layer.cells[0]) and has_fast_path(layer.cells[1])
    assert has_fast_path(copy.deepcopy(layer.cells[1]))


def test_another_activation_put_into_a_cell_is_used():
    layer, frames = ConvLSTM(1, 2, 3), frames_of()
    layer.cells[0].activation = torch.relu
    same = ConvLSTM(1, 2, 3, activation="relu")
    same.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(frames)[0], same(frames)[0])


def test_a_wrapped_cell_is_called_through_its_wrapper():
    class Wrapper(nn.Module):
        def __init__(self, cell):
            super().__init__()
            self.cell, self.calls = cell, 0

        def __getattr__(self, name):
            return (
                super().__getattr__(name)
                if name in ("cell", "_modules")
                else getattr(super().__getattr__("cell"), name)
            )

        def forward(self, *args):
            self.calls += 1
            return self.cell(*args)

    layer, frames = build("layer"), frames_of()
    expected = layer(frames)[0]
    layer.cells[0] = Wrapper(layer.cells[0])
    torch.testing.assert_close(layer(frames)[0], expected)
    assert layer.cells[0].calls == STEPS


def test_inputs_of_a_class_of_their_own_take_the_plain_path():
    frames = frames_of().as_subclass(Own)
    assert not has_fast_path(ConvLSTMCell(1, 2, 3), frames)
    layer = build("layer")
    torch.testing.assert_close(layer(frames)[0].as_subclass(torch.Tensor), layer(frames_of())[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_an_empty_batch_goes_through_every_network(name):
    network = build(name).eval()
    forecast, shape = call(network, frames_of(0, STEPS, 1, 8, 8)), call(network, frames_of()).shape
    assert forecast.shape == (0, *shape[1:])
    forecast.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())
