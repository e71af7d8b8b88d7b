"""The fast path against the plain one, in float64, over random options; and the compiled
kernels against their formulas.
"""

import logging

import pytest
import torch
import torch.utils.checkpoint
from hypothesis import given, settings
from hypothesis import strategies as some

from nowcast.model import ConvLSTM, ConvLSTM1d, fast_path, pointwise
from nowcast.model.activations import ACTIVATIONS
from nowcast.model.cell import ConvLSTMCell, Variant
from nowcast.model.convolution import (
    Shape,
    channels_last,
    convolution_gradients,
    convolve,
    many_times,
)
from nowcast.model.fast_path import has_fast_path, unroll_fast
from nowcast.model.unroll import unroll_plainly


@some.composite
def cases(draw):
    """A cell with random weights in float64, frames or none, a number of steps, and a state or
    none.
    """
    dimensions = draw(some.integers(0, 3))
    axes = lambda most: tuple(draw(some.integers(1, most)) for _ in range(dimensions))  # noqa: E731
    grid, kernel = axes(5), axes(4)
    alike = draw(some.booleans())  # X and H are convolved in the same way
    input_kernel = kernel if alike else axes(3)
    variant = Variant(
        bias=draw(some.booleans()),
        stride=1 if alike else axes(3),
        padding=(
            draw(some.sampled_from(["same", "valid"]))
            if not alike and all(k <= n for k, n in zip(input_kernel, grid, strict=True))
            else "same"
        ),
        activation=draw(some.sampled_from(["tanh", "relu", "identity"])),
        recurrent_activation=draw(some.sampled_from(["sigmoid", "hard_sigmoid"])),
        peephole=draw(some.sampled_from(["none", "channel", "pixel"])),
    )
    channels = draw(some.sampled_from([0, 1, 3]))
    torch.manual_seed(draw(some.integers(0, 2**16)))
    cell = ConvLSTMCell(
        channels,
        draw(some.integers(1, 3)),
        kernel,
        input_kernel,
        dimensions=dimensions,
        grid_size=grid,
        variant=variant,
    ).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    b, steps = draw(some.integers(1, 2)), draw(some.integers(1, 12))
    frames = None
    if channels:
        repeated = draw(some.booleans())
        frames = torch.randn(
            1 if repeated else steps, b, channels, *grid, dtype=torch.float64, requires_grad=True
        )
        grid = cell.gates_of_input(frames[0]).shape[2:]
    state = None
    if not channels or draw(some.booleans()):
        state = tuple(
            torch.randn(b, cell.hidden_channels, *grid, dtype=torch.float64, requires_grad=True)
            for _ in range(2)
        )
    return cell, frames, steps, state


@settings(max_examples=120, deadline=None)
@given(cases(), some.sets(some.integers(0, 2), min_size=1), some.sampled_from((1, 24, 2**20)))
def test_the_fast_path_equals_the_plain_one_forward_and_back(case, used, pixels):
    """With two steps convolved together, some or all."""
    cell, frames, steps, state = case
    assert has_fast_path(cell)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_path, "PIXELS_AT_ONCE", pixels)
        compare(cell, frames, steps, state, used)


@settings(max_examples=80, deadline=None)
@given(cases(), some.sets(some.integers(0, 5), max_size=4))
def test_the_fast_path_equals_the_plain_one_in_single_precision(case, frozen):
    """Where weights are packed on a CPU; and with some inputs that want no gradient."""
    cell, frames, steps, state = case
    cell, (frames, *state) = (
        cell.float(),
        (
            None if x is None else x.detach().float().requires_grad_()
            for x in (frames, *(state or ()))
        ),
    )
    inputs = [*cell.parameters(), *([] if frames is None else [frames]), *state]
    for k in frozen:
        inputs[k % len(inputs)].requires_grad_(False)
    if any(x.requires_grad for x in inputs):
        compare(cell, frames, steps, tuple(state) or None, {0, 1, 2}, 2e-3)


def compare(cell, frames, steps, state, used, tolerance=None):
    inputs = [*cell.parameters(), *([] if frames is None else [frames]), *(state or ())]
    inputs = [x for x in inputs if x.requires_grad]
    dtype = cell.weight_hh.dtype
    near = lambda rtol, atol: {"rtol": tolerance or rtol, "atol": tolerance or atol}  # noqa: E731
    results = []
    for path in (unroll_plainly, unroll_fast):
        output, last = path(cell, frames, steps, state)
        generator = torch.Generator().manual_seed(1)
        parts = [output, *last]
        loss = sum(
            (parts[k] * torch.randn(parts[k].shape, dtype=dtype, generator=generator)).sum()
            for k in sorted(used)
        )
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True)
        with torch.no_grad():
            forecast, _ = path(cell, frames, steps, state)
        torch.testing.assert_close(forecast, output, **near(1e-10, 1e-12))
        results.append(
            [
                *parts,
                *(
                    torch.zeros_like(x) if g is None else g
                    for x, g in zip(inputs, gradients, strict=True)
                ),
            ]
        )
    for plain, fast in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, **near(1e-9, 1e-10))


def test_the_gradient_of_the_fast_path_can_be_differentiated():
    torch.manual_seed(0)
    cell = ConvLSTMCell(1, 2, (1, 3)).double()
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    frames = torch.randn(3, 1, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda x, weight: unroll_fast(cell, x, 3, None)[0], (frames, cell.weight_hh)
    )


def test_a_graph_that_is_kept_gives_the_same_gradient_again():
    torch.manual_seed(0)
    layer = ConvLSTM(2, 3, 3).double()
    frames = torch.randn(2, 7, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    loss = layer(frames)[0].square().sum()
    first, second = (
        torch.autograd.grad(loss, [frames, *layer.parameters()], retain_graph=True)
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("hidden_channels", [2, [2, 3]])
@pytest.mark.parametrize("activation", ["tanh", torch.sin], ids=["fast", "plain"])
def test_what_is_returned_may_be_changed_in_place_before_the_gradient(activation, hidden_channels):
    torch.manual_seed(0)
    layer, frames = (
        ConvLSTM(1, hidden_channels, 3, activation=activation).double(),
        torch.rand(1, 3, 1, 4, 4).double(),
    )

    def gradients(change):
        output, (hidden, cell) = layer(frames)
        states = (hidden, cell) if torch.is_tensor(hidden) else (*hidden, *cell)
        parts = [change(part) for part in (output, *states)]
        return torch.autograd.grad(sum(part.sum() for part in parts), list(layer.parameters()))

    for in_place, new in zip(
        gradients(lambda x: x.mul_(2)), gradients(lambda x: x * 2), strict=True
    ):
        torch.testing.assert_close(in_place, new)


def test_only_the_gates_and_cells_of_each_step_are_kept_for_the_gradient():
    """Not the output, and no weights in another precision."""
    layer, frames, kept = ConvLSTM(2, 3, 3), torch.rand(1, 5, 2, 4, 4), []
    with (
        torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x),
        torch.autocast("cpu", torch.bfloat16),
    ):
        layer(frames)
    weights = {parameter.data_ptr() for parameter in layer.parameters()}
    of_steps = [x for x in kept if x.data_ptr() not in weights and x.numel() != frames.numel()]
    gates, cells = 5 * [(1, 16, 12)], 6 * [(1, 16, 3)]
    assert sorted(tuple(x.shape) for x in of_steps) == sorted(gates + cells)


def steps_of(way, dtype, size=(2, 40, 5)):
    """What a way through a step makes of the same random numbers, forward and back."""
    generator = torch.Generator().manual_seed(0)
    noise = lambda *shape, dtype=torch.float32: torch.randn(*shape, generator=generator).to(dtype)  # noqa: E731
    b, p, h = size
    summed, peephole, cell = (
        noise(b, p, 4 * h, dtype=dtype),
        noise(3, 1, h),
        noise(*size),
    )
    hidden, dcell, dpeephole = torch.empty(size, dtype=dtype), noise(*size), torch.zeros(3, *size)
    gates, after = way.forward(summed, peephole, cell, hidden)
    dgates = torch.empty_like(gates)
    gradient = noise(*size, dtype=dtype)
    doutput, dhidden = gradient / 4, 3 * gradient / 4
    again = torch.empty_like(hidden)
    way.backward(gates, peephole, cell, after, doutput, dhidden, dcell, dgates, dpeephole, again)
    torch.testing.assert_close(again, hidden, rtol=2 * torch.finfo(dtype).eps, atol=1e-6)
    return hidden.clone(), gates, after, dgates, dcell, dpeephole


def ways(activation="tanh", recurrent="sigmoid"):
    functions = ACTIVATIONS[activation], ACTIVATIONS[recurrent]
    formulas = pointwise.Stepper(
        *(pointwise.partial(f, *functions) for f in (pointwise.forward, pointwise.backward))
    )
    in_place = pointwise.stepper(activation, recurrent, torch.zeros(1), 1, training=False)
    return formulas, in_place


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("recurrent", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_step_in_place_is_the_formulas(activation, recurrent, dtype):
    formulas, in_place = ways(activation, recurrent)
    # one rounding of a number of 8 bits, taken on through a product
    precision = 1e-5 if dtype == torch.float32 else 2**-7
    for a, b in zip(steps_of(in_place, dtype), steps_of(formulas, dtype), strict=True):
        torch.testing.assert_close(a.float(), b.float(), rtol=precision, atol=precision)


@pytest.mark.filterwarnings("ignore")  # of what the compiler itself imports
def test_compiled_kernels_are_the_formulas(monkeypatch):
    monkeypatch.setattr(pointwise, "WORTH_COMPILING", 1)
    monkeypatch.setattr(pointwise, "COMPILED_AFTER", 1)
    kernels = pointwise.stepper("tanh", "sigmoid", torch.zeros(2, 40, 5), 1, training=True)
    found = steps_of(kernels, torch.bfloat16)
    if pointwise._no_compiler:
        pytest.skip(f"nothing can be compiled here: {pointwise._no_compiler[0]}")
    for a, b in zip(found, steps_of(ways()[0], torch.bfloat16), strict=True):
        torch.testing.assert_close(a.float(), b.float(), rtol=2**-7, atol=2**-7)


@pytest.mark.filterwarnings("ignore")  # of what the compiler itself imports
def test_a_compiled_forecast_has_peepholes_of_pixels_and_keeps_no_gates(monkeypatch):
    """Of two images, whose first C is in another order in memory."""
    monkeypatch.setattr(pointwise, "WORTH_COMPILING", 1)
    monkeypatch.setattr(pointwise, "COMPILED_AFTER", 1)
    kernels = pointwise.stepper("tanh", "sigmoid", torch.zeros(2, 40, 5), 1, training=True)
    summed = torch.randn(2, 40, 20).bfloat16()
    cell = torch.randn(2, 5, 40).transpose(1, 2)
    found, expected = torch.empty(2, 2, 40, 5, dtype=torch.bfloat16)
    peephole = torch.randn(3, 40, 5)
    gates, after = kernels.forward(summed, peephole, cell, found, False)
    if pointwise._no_compiler:
        pytest.skip(f"nothing can be compiled here: {pointwise._no_compiler[0]}")
    _, wanted = ways()[0].forward(summed, peephole, cell, expected)
    assert gates is None
    torch.testing.assert_close(after, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.float(), expected.float(), rtol=2**-7, atol=2**-7)


def test_tanh_by_sigmoid_is_tanh_up_to_rounding():
    x = torch.linspace(-20, 20, 100_001)
    torch.testing.assert_close(pointwise._tanh_by_sigmoid(x), x.tanh(), rtol=0, atol=2e-7)


@pytest.mark.filterwarnings("ignore")  # of what the compiler itself imports
def test_without_a_compiler_it_runs_eagerly_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(pointwise, "WORTH_COMPILING", 1)
    monkeypatch.setattr(pointwise, "COMPILED_AFTER", 1)
    monkeypatch.setattr(pointwise, "_no_compiler", [])
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/nowhere/g++",))
    pointwise._compiled.cache_clear()
    torch.compiler.reset()
    with caplog.at_level(logging.WARNING), torch._inductor.utils.fresh_cache():
        way = pointwise.stepper("relu", "hard_sigmoid", torch.zeros(2, 40, 5), 1, training=True)
        found = [steps_of(way, torch.bfloat16) for _ in range(2)]
    pointwise._compiled.cache_clear()
    assert [
        record.levelname for record in caplog.records if record.name == "nowcast.model.pointwise"
    ] == ["WARNING"]
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            found[0], steps_of(ways("relu", "hard_sigmoid")[1], torch.bfloat16), strict=True
        )
    )
    assert "nowhere" in caplog.text


def test_a_layer_that_someone_watches_runs_plainly():
    cell = ConvLSTMCell(1, 2, 3)
    assert has_fast_path(cell)
    assert not has_fast_path(ConvLSTMCell(1, 2, 3, variant=Variant(activation=torch.sin)))
    assert not has_fast_path(ConvLSTMCell(1, 2, 3, variant=Variant(proj_size=1)))
    assert not torch.func.vmap(lambda x: x * has_fast_path(cell))(torch.ones(2)).any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float64, torch.bfloat16])
def test_frames_of_another_precision_are_refused(dtype):
    layer = ConvLSTM(1, 2, 3)
    with pytest.raises(
        ValueError, match=r"frames: are torch\.\w+, but the weights are torch.float32"
    ):
        layer(torch.ones(1, 2, 1, 4, 4, dtype=dtype))
    with torch.autocast("cpu", torch.bfloat16):  # which converts them itself
        assert layer(torch.ones(1, 2, 1, 4, 4))[0].dtype == torch.bfloat16


def test_nothing_that_is_returned_shares_memory_with_what_a_stateful_layer_carries():
    torch.manual_seed(0)
    frames = torch.rand(1, 3, 1, 4, 4)
    for hidden_channels in (2, [2, 3]):
        layer = ConvLSTM(1, hidden_channels, 3, stateful=True)
        with torch.no_grad():
            untouched = [layer(frames)[0].clone() for _ in range(2)][1]
            layer.reset_state()
            output, (h, c) = layer(frames)
            for part in (output, *h, *c):
                part.zero_()
            assert torch.equal(layer(frames)[0], untouched)


def test_gradients_can_be_checkpointed():
    torch.manual_seed(0)
    layer = ConvLSTM(1, 2, 3).double()
    frames = torch.rand(2, 3, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    plain = torch.autograd.grad(layer(frames)[0].square().sum(), frames)
    again = torch.autograd.grad(
        torch.utils.checkpoint.checkpoint(layer, frames, use_reentrant=False)[0].square().sum(),
        frames,
    )
    torch.testing.assert_close(again, plain)


@pytest.mark.parametrize("activation", ["tanh", torch.sin], ids=["fast", "plain"])
def test_an_empty_batch_gives_an_empty_output_and_gradients_of_zero(activation):
    layer = ConvLSTM(1, [2, 3], 3, activation=activation)
    output, (hidden, cell) = layer(torch.ones(0, 2, 1, 4, 5))
    assert output.shape == (0, 2, 3, 4, 5) and [h.shape for h in (*hidden, *cell)] == 2 * [
        (0, 2, 4, 5),
        (0, 3, 4, 5),
    ]
    output.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


def test_a_sequence_of_no_frames_is_refused():
    with pytest.raises(ValueError, match="a tensor of shape .* is empty"):
        ConvLSTM(1, 2, 3)(torch.ones(1, 0, 1, 4, 4))


def test_a_cell_with_an_equation_of_its_own_is_asked_for_it():
    class Own(ConvLSTMCell):
        pass

    assert not has_fast_path(Own(1, 2, 3))


@pytest.mark.filterwarnings("ignore")  # of what the compiler itself imports
def test_kernels_are_compiled_beside_many_modules_of_the_user(monkeypatch):
    """The compiler makes only so much of one function, and takes every sequential module and every
    partial function for the same one.
    """
    monkeypatch.setattr(pointwise, "WORTH_COMPILING", 1)
    monkeypatch.setattr(pointwise, "COMPILED_AFTER", 1)
    monkeypatch.setattr(pointwise, "_no_compiler", [])
    pointwise._compiled.cache_clear()
    torch.compiler.reset()
    for _ in range(torch._dynamo.config.recompile_limit + 1):
        torch.compile(torch.nn.Sequential(torch.nn.Linear(1, 1)), backend="eager")(torch.ones(1, 1))
    way = pointwise.stepper("tanh", "sigmoid", torch.zeros(2, 40, 5), 1, training=True)
    summed, cell, hidden = torch.zeros(2, 40, 20), torch.zeros(2, 40, 5), torch.empty(2, 40, 5)
    gates, _ = way.forward(summed, None, cell, hidden, False)
    if pointwise._no_compiler and "compiled frames" not in pointwise._no_compiler[0]:
        pytest.skip(f"nothing can be compiled here: {pointwise._no_compiler[0]}")
    assert gates is None  # the operations in place would have them
    torch.compiler.reset()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kernel", "shape"),
    [
        ((3, 3), Shape((1, 1), "same", (1, 1))),
        ((5, 3), Shape((2, 1), "valid", (1, 1))),
        ((3, 3), Shape((1, 1), "same", (2, 3))),
        ((2, 4), Shape((1, 1), "same", (1, 1))),
    ],
    ids=["same", "strided", "dilated", "even"],
)
@pytest.mark.parametrize("size", [(3, 9, 10), (1, 5, 3)], ids=["wide", "narrow"])
def test_a_weight_that_is_packed_once_convolves_as_any(kernel, shape, dtype, size):
    torch.manual_seed(0)
    weight, bias = torch.randn(8, size[0], *kernel, dtype=dtype), torch.randn(8, dtype=dtype)
    x = torch.randn(2, *size, dtype=dtype)
    read = many_times(weight, bias, shape, x.shape)
    expected = convolve(x, weight, bias, shape)
    precision = 1e-5 if dtype == torch.float32 else 2**-6
    for images in (x, x[:1]):  # the last ones may be fewer
        found = read(images)
        torch.testing.assert_close(found, expected[: len(images)], rtol=precision, atol=precision)


def test_without_onednn_nothing_is_packed_and_all_is_the_same():
    layer, frames = ConvLSTM(2, 3, 3), torch.rand(1, 4, 2, 6, 5)
    with torch.no_grad():
        packed = layer(frames)[0]
        torch._C._set_mkldnn_enabled(False)
        try:
            plain = layer(frames)[0]
        finally:
            torch._C._set_mkldnn_enabled(True)
    torch.testing.assert_close(packed, plain, rtol=1e-5, atol=1e-6)


def test_a_stride_along_one_axis_alone_is_right_though_packed_weights_would_not_be():
    torch.manual_seed(0)
    weight, x, shape = (
        torch.randn(8, 1, 3, 3),
        torch.randn(1, 1, 5, 1),
        Shape((1, 2), "same", (1, 1)),
    )
    found = many_times(weight, None, shape, x.shape)(x)
    torch.testing.assert_close(found, convolve(x, weight, None, shape))


@pytest.mark.parametrize(
    ("kernel", "grid", "stride"),
    [
        ((5, 5, 1), (5, 1, 5), (1, 1, 1)),
        ((3, 3, 3), (2, 4, 4), (1, 1, 1)),
        ((3, 3), (6, 5), (2, 1)),
    ],
    ids=["flat", "deep", "strided"],
)
def test_gradients_of_weights_in_half_precision_are_right(kernel, grid, stride):
    """oneDNN's own are wrong for some of these."""
    torch.manual_seed(0)
    shape = Shape(stride, "same", (1,) * len(grid))
    x, weight = torch.randn(2, 3, *grid), torch.randn(8, 3, *kernel)
    after = convolve(x, weight, None, shape)
    gradient = torch.randn(after.shape)
    wanted = convolution_gradients(gradient, x, weight, shape, (False, True, True))[1:]
    rounded = (channels_last(one.bfloat16()) for one in (gradient, x, weight))
    found = convolution_gradients(*rounded, shape, (False, True, True))[1:]
    for ours, exact in zip(found, wanted, strict=True):
        assert (ours.float() - exact).norm() < 0.02 * exact.norm()


def test_a_layer_of_one_axis_whose_weights_are_frozen_learns_its_bias():
    layer = ConvLSTM1d(1, 2, 3)
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_("bias" in name)
    layer(torch.rand(1, 3, 1, 8))[0].sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in layer.parameters())
