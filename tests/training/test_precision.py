"""Which device and numbers are chosen, and that the smaller numbers train as float32 does."""

from itertools import islice

import pytest
import torch

from nowcast.config.checks import device_and_precision
from nowcast.errors import ConfigError, DeviceError
from nowcast.model import EncoderForecaster
from nowcast.training.checkpoints import read_checkpoint
from nowcast.training.losses import loss_of
from nowcast.training.precision import Precision, choose_precision
from nowcast.training.signals import stop_request

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
SIGNIFICANT_BITS = {"bf16": 8, "fp16": 11}


def losses_of_steps(trainer, windows, steps):
    trainer.model.train()
    batches = [windows.epoch(0)[k : k + 2] for k in range(0, 2 * steps, 2)]
    return [
        float(trainer.steps.take(batch)) for batch in islice(trainer._load(windows, batches), steps)
    ]


def test_auto_on_the_cpu_is_a_precision_that_the_cpu_has() -> None:
    precision = choose_precision("cpu", "auto")
    assert precision.device == CPU
    has_bf16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    assert precision.name == ("bf16" if has_bf16 else "fp32")


@pytest.mark.parametrize(
    "has",
    [(True, False), (False, True), (True, True), (False, False)],
    ids=["AMX", "AVX-512", "both", "none"],
)
def test_bf16_is_chosen_where_the_cpu_multiplies_by_it(monkeypatch, has) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has[0])
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has[1])
    assert choose_precision("cpu", "auto").name == ("bf16" if any(has) else "fp32")


def see_gpus(monkeypatch, *capabilities) -> None:
    """As if PyTorch saw GPUs of these compute capabilities."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capabilities))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: capabilities[device.index or 0]
    )


@pytest.mark.parametrize(("number", "name"), [(0, "fp16"), (1, "bf16")])
def test_one_gpu_of_several_can_be_chosen_and_its_own_numbers_are(
    monkeypatch, number, name
) -> None:
    see_gpus(monkeypatch, (7, 0), (9, 0))
    assert choose_precision(f"cuda:{number}", "auto") == Precision(
        torch.device("cuda", number), name
    )


@pytest.mark.parametrize(
    ("gpus", "there"), [(1, "sees 1 GPU; use cuda:0."), (2, "sees 2 GPUs; use cuda:0 to cuda:1.")]
)
def test_a_gpu_beyond_the_last_is_refused(monkeypatch, gpus, there) -> None:
    see_gpus(monkeypatch, *gpus * [(9, 0)])
    with pytest.raises(
        DeviceError, match=f"device: 'cuda:7' was requested, but PyTorch {there}"
    ) as refused:
        choose_precision("cuda:7", "auto")
    assert refused.value.exit_code == 69


def test_an_apple_gpu_is_taken_when_asked_for_in_fp32_unless_told_otherwise(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    see_gpus(monkeypatch)
    mps = torch.device("mps")
    assert choose_precision("mps", "auto") == Precision(mps, "fp32")
    assert choose_precision("mps", "bf16") == Precision(mps, "bf16")
    assert str(choose_precision("mps", "auto")) == "Apple GPU, fp32"
    # unseen hardware is nobody's default
    assert choose_precision("auto", "fp32") == Precision(CPU, "fp32")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_absent_is_refused_in_one_line(monkeypatch, device) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    see_gpus(monkeypatch)
    with pytest.raises(
        DeviceError,
        match=f"device: '{device}' was requested, but PyTorch sees no .*GPU; use device=cpu",
    ) as refused:
        choose_precision(device, "fp32")
    assert refused.value.exit_code == 69


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:17", "mps"])
def test_devices_have_these_names(device) -> None:
    device_and_precision(device, "auto")


@pytest.mark.parametrize(
    "device",
    [
        "gpu",
        "cuda:",
        "cuda:x",
        "cuda:-1",
        "cuda:01",
        "cuda:1,2",
        "cpu:0",
        "mps:1",
        "",
        "CUDA",
        "cuda:1\n",
    ],
)
def test_other_names_of_devices_are_refused(device) -> None:
    with pytest.raises(ConfigError, match="is not one of auto, cpu, cuda, cuda:0, cuda:1, …, mps"):
        device_and_precision(device, "auto")


@pytest.mark.parametrize(
    ("capability", "name"), [((7, 0), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")]
)
def test_older_gpus_get_fp16_and_newer_ones_bf16(monkeypatch, capability, name) -> None:
    see_gpus(monkeypatch, capability)
    assert choose_precision("auto", "auto") == Precision(torch.device("cuda"), name)


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_a_precision_asked_for_is_taken_as_it_is(name) -> None:
    assert choose_precision("cpu", name) == Precision(CPU, name)


def test_the_device_falls_back_to_the_cpu(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_precision("auto", "fp32") == Precision(CPU, "fp32")
    assert str(choose_precision("auto", "fp32")) == "CPU, fp32"


@pytest.mark.parametrize("name", SIGNIFICANT_BITS)
def test_forecasts_agree_with_float32_as_far_as_the_numbers_reach(name) -> None:
    torch.manual_seed(0)
    model = EncoderForecaster(
        channels=1, hidden_channels=[4], kernel_size=3, input_kernel_size=3, patch_size=2
    )
    frames = torch.rand(2, 3, 1, 8, 8)
    with torch.no_grad():
        exact = model(frames, 2)
        with Precision(CPU, name).autocast():
            rounded = model(frames, 2)
    assert rounded.dtype == torch.float32
    # five steps and the output, each of them rounded once, by half a unit of the last place or
    # less; gates pass errors on, not up
    bound = 6 * 2.0 ** -SIGNIFICANT_BITS[name] * exact.abs().max()
    assert 0 < (rounded - exact).abs().max() < bound


@pytest.mark.parametrize("name", SIGNIFICANT_BITS)
def test_losses_follow_those_of_float32(name, build_trainer, showers, tmp_path) -> None:
    windows = showers(16)
    exact = losses_of_steps(build_trainer(tmp_path, ema_decay=0.0), windows, 8)
    rounded = losses_of_steps(build_trainer(tmp_path, precision=name, ema_decay=0.0), windows, 8)
    assert exact[-1] < exact[0]
    assert rounded != exact
    # a rounding a step
    assert rounded == pytest.approx(exact, rel=8 * 2.0 ** -SIGNIFICANT_BITS[name])


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_weights_and_their_averages_stay_in_float32(name, build_trainer, showers, tmp_path) -> None:
    trainer = build_trainer(tmp_path, precision=name)
    losses_of_steps(trainer, showers(), 2)
    for module in (trainer.model, trainer.averaged.module):
        assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert {
        v.dtype for state in trainer.steps.optimizer.state.values() for v in state.values()
    } == {torch.float32}


def test_only_fp16_scales_its_gradients() -> None:
    assert [
        Precision(CPU, name).gradient_scaler().is_enabled() for name in ("fp32", "bf16", "fp16")
    ] == [False, False, True]


def test_the_gradient_scaler_is_in_the_checkpoint_and_is_taken_up_again(
    build_trainer, showers, tmp_path
) -> None:
    trainer = build_trainer(tmp_path, precision="fp16")
    trainer.steps.gradient_scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    losses_of_steps(trainer, showers(), 3)
    trainer.save(tmp_path / "last.pt")
    saved = read_checkpoint(tmp_path / "last.pt")
    assert (saved["gradient_scaler"]["scale"], saved["gradient_scaler"]["_growth_tracker"]) == (
        1024.0,
        3,
    )
    resumed = build_trainer(tmp_path, precision="fp16")
    resumed.restore(saved)
    assert resumed.steps.gradient_scaler.state_dict() == trainer.steps.gradient_scaler.state_dict()


@pytest.mark.parametrize(("before", "after"), [("fp32", "fp16"), ("fp16", "fp32")])
def test_a_run_may_go_on_in_another_precision(
    before, after, build_trainer, showers, tmp_path
) -> None:
    with stop_request() as stop:
        build_trainer(tmp_path, precision=before, epochs=1).fit(showers(), showers(), stop)
        resumed = build_trainer(tmp_path, precision=after, epochs=2)
        resumed.restore(read_checkpoint(tmp_path / "last.pt"))
        assert len(resumed.fit(showers(), showers(), stop)) == 2


def test_a_step_whose_scaled_gradients_overflow_changes_no_weight_and_halves_the_scale(
    build_trainer, showers, tmp_path
) -> None:
    def steep(*args):
        return 1e4 * loss_of("mse")(*args)

    trainer = build_trainer(tmp_path, precision="fp16", loss=steep)
    before = [p.clone() for p in trainer.model.parameters()]
    losses_of_steps(trainer, showers(), 1)
    assert all(torch.equal(p, q) for p, q in zip(before, trainer.model.parameters(), strict=True))
    assert trainer.steps.gradient_scaler.get_scale() == 2.0**15
    assert trainer.steps.schedule.last_epoch == 0  # the learning rate waits too
    losses = losses_of_steps(trainer, showers(32), 16)
    assert losses[-1] < losses[0]


@needs_gpu
@pytest.mark.parametrize("name", SIGNIFICANT_BITS)
def test_losses_on_the_gpu_follow_those_on_the_cpu(name, build_trainer, showers, tmp_path) -> None:
    exact = losses_of_steps(build_trainer(tmp_path, ema_decay=0.0), showers(32), 16)
    rounded = losses_of_steps(
        build_trainer(tmp_path, precision=name, device="cuda", ema_decay=0.0), showers(32), 16
    )
    assert rounded == pytest.approx(exact, rel=16 * 2.0 ** -SIGNIFICANT_BITS[name])


@needs_gpu
def test_a_run_on_the_gpu_goes_on_on_the_cpu(build_trainer, showers, tmp_path) -> None:
    with stop_request() as stop:
        build_trainer(tmp_path, device="cuda", epochs=1).fit(showers(), showers(), stop)
        resumed = build_trainer(tmp_path, epochs=2)
        resumed.restore(read_checkpoint(tmp_path / "last.pt"))
        assert len(resumed.fit(showers(), showers(), stop)) == 2
