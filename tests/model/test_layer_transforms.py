"""The layer under what torch does to a module: compile, export, differentiate by function,
lower precision, copy.
"""

import io
import pickle
from copy import deepcopy

import pytest
import torch
from layers import assert_same, in_words, noise, shake
from torch.func import functional_call, grad, jacrev, jvp, stack_module_state, vmap

from nowcast.model import FCLSTM, ConvLSTM, ConvLSTM1d, ConvLSTM3d

LAYERS = {
    "1d": lambda: ConvLSTM1d(2, 3, 3, bidirectional=True),
    "2d": lambda: ConvLSTM(
        2, [3, 2], 3, recurrent_activation="hard_sigmoid", activation="identity"
    ),
    "3d": lambda: ConvLSTM3d(
        2, 3, 1, peephole="pixel", grid_size=4, proj_size=2, activation=torch.sin
    ),
    "fc": lambda: FCLSTM(2, 3),
}
AXES = {"1d": 1, "2d": 2, "3d": 3, "fc": 0}


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    """Compiled code is kept for all layers together, and only so much of it."""
    torch.compiler.reset()


def weights_of(layer):
    return {name: parameter.detach() for name, parameter in layer.named_parameters()}


@pytest.mark.parametrize("kind", ["2d", "3d", "fc"])
def test_it_compiles_in_one_graph(kind):
    layer, frames = shake(LAYERS[kind]()), noise(2, 2, 2, *(4,) * AXES[kind])
    assert_same(torch.compile(layer, backend="eager", fullgraph=True)(frames), layer(frames))


def test_a_compiled_layer_takes_batches_of_any_size_and_carries_its_state():
    layer, plain = (
        shake(ConvLSTM(1, 2, 3, peephole="pixel", grid_size=4, stateful=stateful))
        for stateful in (True, False)
    )
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    for b in (1, 2, 3):
        frames = noise(b, 4, 1, 4, 4)
        assert_same(
            torch.cat([compiled(frames[:, :2])[0], compiled(frames[:, 2:])[0]], dim=1),
            plain(frames)[0],
        )
        layer.reset_state()


def test_a_compiled_layer_has_the_same_gradients():
    layer, frames = shake(ConvLSTM(2, 3, 3)), noise(1, 2, 2, 4, 5, grad=True)
    wanted = [frames, *layer.parameters()]
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    ours, theirs = (
        torch.autograd.grad(call(frames)[0].square().sum(), wanted) for call in (compiled, layer)
    )
    assert_same(ours, theirs)


def test_it_compiles_with_sequences_of_different_length():
    layer, frames = shake(ConvLSTM(1, 2, 3, bidirectional=True)), noise(2, 2, 1, 4, 4)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert_same(compiled(frames, lengths=torch.tensor([1, 2])), layer(frames, lengths=[1, 2]))


def test_an_exported_layer_takes_batches_and_grids_of_any_size():
    layer, any_size = shake(ConvLSTM(1, 2, (2, 3), num_layers=2)), torch.export.Dim.DYNAMIC
    sizes = {"frames": {0: any_size, 3: any_size, 4: any_size}}
    exported = torch.export.export(layer, (noise(2, 3, 1, 4, 5),), dynamic_shapes=sizes).module()
    for frames in (noise(2, 3, 1, 4, 5), noise(3, 3, 1, 7, 6)):
        assert_same(exported(frames), layer(frames))


def test_an_exported_layer_without_input_takes_its_state():
    layer, state = shake(ConvLSTM(0, 2, 3)), (noise(1, 2, 2, 4, 5), noise(1, 2, 2, 4, 5, seed=2))
    exported = torch.export.export(layer, (None, state), {"steps": 3}).module()
    assert_same(exported(None, state, steps=3), layer(None, state, steps=3))


def test_an_ensemble_of_layers_runs_as_one_by_vmap():
    layers, frames = (
        [shake(ConvLSTM(1, 2, 3, num_layers=2), seed=k) for k in range(3)],
        noise(2, 2, 1, 4, 4),
    )
    together = vmap(lambda weights: functional_call(layers[0], weights, (frames,)))(
        stack_module_state(layers)[0]
    )
    output, (hidden, memory) = together
    for k, layer in enumerate(layers):
        assert_same((output[k], (hidden[k], memory[k])), layer(frames))


def test_gradients_of_each_example_are_those_of_it_alone():
    layer, frames = shake(ConvLSTM(1, 2, 3)), noise(3, 2, 1, 4, 4)

    def loss(weights, sequence):
        return functional_call(layer, weights, (sequence,))[0].square().sum()

    each = vmap(grad(loss), (None, 0))(weights_of(layer), frames)
    for k in range(3):
        alone = torch.autograd.grad(layer(frames[k])[0].square().sum(), [*layer.parameters()])
        assert_same(tuple(gradient[k] for gradient in each.values()), alone)


# torch's own, on the first jvp
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", LAYERS)
def test_derivatives_forward_and_backward_are_one_jacobian(kind):
    layer, frames = shake(LAYERS[kind]()), noise(1, 2, 2, *(4,) * AXES[kind])
    direction = noise(*frames.shape, seed=3)

    def call(x):
        return layer(x)[0].sum(dim=2)

    value, along = jvp(call, (frames,), (direction,))
    assert_same(value, call(frames))
    step = 1e-6
    slope = (call(frames + step * direction) - call(frames - step * direction)) / (2 * step)
    torch.testing.assert_close(along, slope, rtol=1e-6, atol=1e-8)
    jacobian = jacrev(call)(frames)
    assert_same(
        torch.einsum("of,f->o", jacobian.reshape(value.numel(), -1), direction.flatten()),
        along.flatten(),
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"peephole": "none"}, {"activation": torch.tanh}], ids=in_words
)
def test_autocast_computes_in_bf16_and_keeps_cells_in_float32(options, training):
    """A convolution rounds to 8 bits, errors of about 2^-9, which the sigmoids (slope ≤ 1/4)
    keep from growing over the steps.
    """
    layer, frames = (
        shake(ConvLSTM(2, 8, 3, num_layers=2, **options)).float(),
        noise(2, 5, 2, 6, 7).float(),
    )
    with torch.set_grad_enabled(training):
        exact = layer(frames)
        with torch.autocast("cpu", torch.bfloat16):
            output, (hidden, memory) = layer(frames)
            again, _ = layer(frames, (hidden, memory))
    assert output.dtype == hidden.dtype == again.dtype == torch.bfloat16
    assert memory.dtype == torch.float32
    for ours, theirs in ((output, exact[0]), (memory, exact[1][1])):
        assert 0 < (ours - theirs).norm() / theirs.norm() < 2**-6
    if training:
        gradients = torch.autograd.grad(output.float().square().sum(), [*layer.parameters()])
        wanted = torch.autograd.grad(exact[0].square().sum(), [*layer.parameters()])
        assert all(g.dtype == torch.float32 for g in gradients)
        assert all(
            (g - w).norm() / w.norm() < 2**-4 for g, w in zip(gradients, wanted, strict=True)
        )


def test_a_layer_on_no_device_knows_its_shapes():
    layer = ConvLSTM(2, 3, 3, num_layers=2, device="meta")
    output, (hidden, _) = layer(torch.empty(2, 4, 2, 5, 6, device="meta"))
    assert (output.device.type, output.shape, hidden.shape) == (
        "meta",
        (2, 4, 3, 5, 6),
        (2, 2, 3, 5, 6),
    )


@pytest.mark.parametrize("kind", ["1d", "2d", "3d", "fc"])
def test_a_copy_is_the_same_and_goes_its_own_way(kind):
    layer, frames = shake(LAYERS[kind]()), noise(1, 2, 2, *(4,) * AXES[kind])
    before = layer(frames)
    for copy in (deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert_same(copy(frames), before)
        assert repr(copy) == repr(layer)
        for parameter in copy.parameters():
            torch.nn.init.zeros_(parameter)
        assert_same(layer(frames), before)


def test_every_activation_by_name_can_be_pickled_and_a_stateful_layer_goes_on_after_it():
    layer, frames = (
        shake(
            ConvLSTM(1, 2, 3, stateful=True, recurrent_activation="hard_sigmoid", activation="relu")
        ),
        noise(1, 2, 1, 4, 4),
    )
    layer(frames)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    copy = torch.load(buffer, weights_only=False)
    assert_same(copy(frames), layer(frames))


def test_a_layer_goes_to_another_precision_with_all_its_parameters():
    layer = ConvLSTM(1, 2, 3, peephole="pixel", grid_size=4)
    assert {p.dtype for p in layer.double().parameters()} == {torch.float64}
    assert layer(noise(1, 2, 1, 4, 4))[0].dtype == torch.float64
    assert {p.dtype for p in layer.to(torch.bfloat16).parameters()} == {torch.bfloat16}
    assert all(p.requires_grad and p.is_leaf for p in layer.parameters())
