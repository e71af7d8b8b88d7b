"""Forecasts in tiles: how far a forecast looks, tiles equal to the whole, and how much memory
they may take.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Outcome
from torch import Tensor, nn

from nowcast.errors import DeviceError
from nowcast.forecast.dataset import open_forecast
from nowcast.forecast.forecaster import Forecaster
from nowcast.forecast.memory import _available, _left_in_groups, free_memory, memory_allowed
from nowcast.forecast.tiling import (
    WORKSPACE,
    Tiling,
    choose_tiling,
    forecast_in_tiles,
    tiled_forecast,
)
from nowcast.model import build_model
from nowcast.model.describe import forecasting_memory, forecasting_memory_at_most
from nowcast.model.stacks import Local
from nowcast.probability.forecast import Forecast
from nowcast.radar import write_synthetic
from nowcast.sequences.inputs import Channel, Inputs
from nowcast.sequences.scaling import Scaling

RAIN_ALONE = Inputs()


def encoder_forecaster(
    layers: int, kernel: int, input_kernel: int, patch: int, feedback: bool = False
) -> dict[str, Any]:
    sizes = {"kernel_size": kernel, "input_kernel_size": input_kernel, "patch_size": patch}
    return {
        "name": "encoder_forecaster",
        "hidden_channels": [2] * layers,
        **sizes,
        "feedback": feedback,
    }


def strided(strides: list[int], kernels: list[int], kernel: int) -> dict[str, Any]:
    sizes = {
        "strides": strides,
        "conv_kernel_sizes": kernels,
        "kernel_size": kernel,
        "outer_channels": 2,
    }
    return {"name": "encoder_forecaster_strided", "hidden_channels": [2] * len(strides), **sizes}


def next_frame(*kernels: int) -> dict[str, Any]:
    return {
        "name": "next_frame",
        "hidden_channels": [3] * len(kernels),
        "kernel_sizes": list(kernels),
    }


def model_of(settings: dict[str, Any], channels: int = 1) -> nn.Module:
    torch.manual_seed(1)
    return build_model(settings, channels, 1).eval()


def forecaster_of(
    settings: dict[str, Any], input_steps: int, lead_steps: int, inputs: Inputs = RAIN_ALONE
) -> Forecaster:
    model = model_of(settings, inputs.channels)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)  # so that what is far away shows
        model.get_submodule("output").get_parameter("bias").fill_(0.5)  # and it rains
    return Forecaster(model, Scaling("log", 100.0, 0.1), input_steps, lead_steps, 5.0, inputs)


@pytest.mark.parametrize(
    ("settings", "input_steps", "lead_steps", "halo"),
    [
        # T states of one layer, the lead steps of the forecaster, and the input convolutions in and
        # out, in patches.
        (encoder_forecaster(1, 3, 3, 1), 1, 1, 1 + 1),
        (encoder_forecaster(1, 5, 1, 2), 3, 2, 2 * (2 * 2 + 2 * 2)),
        (encoder_forecaster(2, 3, 5, 2), 3, 2, 2 * (2 + 2 + 3 * 2)),
        (encoder_forecaster(3, 3, 3, 4), 2, 3, 4 * (1 + 3 + 5)),
        (encoder_forecaster(2, 1, 5, 2), 3, 4, 2 * (3 * 2)),
        # Fed back, a frame comes in again through all layers of the forecaster, unless the states
        # spread further.
        (encoder_forecaster(2, 3, 3, 2, feedback=True), 2, 3, 2 * (2 + 3 + 2 * 2)),
        (encoder_forecaster(1, 5, 3, 1, feedback=True), 2, 3, 2 * 2 + 1 + 2 * 2),
        (encoder_forecaster(2, 1, 3, 3, feedback=True), 2, 2, 3 * (3 + 2)),
        # In: 1 pixel, 1 + 1 cells; 3 + 2 − 1 steps; out: 6 · 2 + 1 pixels, up to a whole cell.
        (strided([2], [4], 3), 3, 2, 14),
        (strided([2, 2], [4, 3], 3), 2, 2, 32),
        (strided([3, 2], [5, 3], 3), 2, 1, 42),
        (strided([1, 3], [3, 3], 3), 2, 1, 18),
        (strided([2, 1], [3, 3], 1), 2, 2, 8),
        # Each forecast frame through all layers and the last convolution; past frames through the
        # states of the widest.
        (next_frame(3), 1, 1, 2),
        (next_frame(5, 3, 1), 3, 2, 2 * 2 + 2 * 4),
        (next_frame(3, 5), 2, 3, 2 + 3 * 4),
        (next_frame(1, 1), 3, 2, 2),
    ],
)
def test_the_halo_is_as_far_as_a_forecast_looks_and_no_further(
    settings: dict[str, Any], input_steps: int, lead_steps: int, halo: int
) -> None:
    model = model_of(settings).double()
    assert isinstance(model, Local)
    assert model.halo(input_steps, lead_steps) == halo
    cell = model.multiple
    start = -(-(halo + cell) // cell) * cell  # so that the halo ends within the grid
    size = 2 * start + cell
    past = torch.rand(1, input_steps, 1, size, size, dtype=torch.float64, requires_grad=True)
    tile = slice(start, start + cell)
    model(past, lead_steps)[..., tile, tile].sum().backward()
    assert past.grad is not None
    for axis in (3, 4):
        touched = (
            past.grad.abs().sum(dim=[dim for dim in range(5) if dim != axis]).nonzero().flatten()
        )
        first, last = int(touched[0]), int(touched[-1])
        assert start - halo <= first < start - halo + cell  # a cell less would not do
        assert start + cell < last + 1 <= start + cell + halo


@pytest.mark.parametrize(
    ("settings", "inputs"),
    [
        (encoder_forecaster(2, 3, 3, 4), RAIN_ALONE),
        (encoder_forecaster(2, 3, 3, 2, feedback=True), RAIN_ALONE),
        (
            encoder_forecaster(2, 3, 3, 2),
            Inputs(True, (Channel("sine"), Channel("cosine"), Channel("field", 5.0, 2.0))),
        ),
        (strided([3, 2], [5, 3], 3), RAIN_ALONE),
        (next_frame(3, 3), RAIN_ALONE),
    ],
)
def test_tiles_equal_the_whole_in_their_own_cells_and_at_the_borders_of_the_grid(
    settings: dict[str, Any], inputs: Inputs
) -> None:
    forecaster = forecaster_of(settings, 3, 3, inputs)
    model = forecaster.model
    assert isinstance(model, Local)
    past = 30 * torch.rand(2, 3, inputs.raw_channels, 79, 101) ** 4
    past[:, :, :, 20:60, 30:70] = math.nan
    past[0, 1] = math.nan
    length, halo = -(-20 // model.multiple) * model.multiple, model.halo(3, 3)
    tiling = Tiling((*range(0, 79, length), 79), (*range(0, 101, 2 * length), 101), halo, 0, 0)
    seen: list[tuple[int, ...]] = []

    def forecast(part: Tensor) -> Tensor:
        seen.append(tuple(part.shape))
        return forecaster(part)

    whole, tiled = forecaster(past), forecast_in_tiles(forecast, past, 3, tiling)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert len(seen) > 5
    assert max(shape[3] for shape in seen) <= length + 2 * halo
    narrow = Tiling(tiling.rows, tiling.columns, 0, 0, 0)
    apart = forecast_in_tiles(forecaster, past, 3, narrow) - whole
    assert apart.nan_to_num(0.0).abs().max() > 1e-3  # so this test can tell


def test_a_tile_that_measured_nothing_is_not_forecast_and_a_dry_one_is() -> None:
    forecaster = forecaster_of(encoder_forecaster(1, 3, 3, 2), 2, 2)
    past = torch.full((1, 2, 1, 16, 16), math.nan)
    past[:, :, :, :8, :8] = 0.0
    past[:, 1, :, 15, 15] = 1.0
    asked, told = [], []

    def forecast(part: Tensor) -> Tensor:
        asked.append(part.shape[-2:])
        return forecaster(part)

    tiling = Tiling((0, 8, 16), (0, 8, 16), 8, 0, 0)
    made = forecast_in_tiles(forecast, past, 2, tiling, lambda done, of: told.append((done, of)))
    assert len(asked) == 2
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    torch.testing.assert_close(made, forecaster(past), equal_nan=True)
    assert (~made.isnan()).sum() == 2 * (64 + 1)


def test_a_grid_that_fits_is_forecast_whole() -> None:
    forecaster = forecaster_of(encoder_forecaster(1, 3, 3, 2), 2, 2)
    needed = round(WORKSPACE * forecasting_memory(forecaster.model, (1, 2, 1, 200, 300), 2))
    assert choose_tiling(forecaster, (1, 2, 1, 200, 300), needed).tiles == [((0, 200), (0, 300))]
    assert len(choose_tiling(forecaster, (1, 2, 1, 200, 300), needed - 1).tiles) > 1
    past = torch.rand(1, 2, 1, 200, 300)
    made = forecast_in_tiles(forecaster, past, 2, choose_tiling(forecaster, past.shape, needed))
    assert torch.equal(made, forecaster(past))


@pytest.mark.parametrize("share", [0.9, 0.3, 0.1])
@pytest.mark.parametrize(
    "settings",
    [encoder_forecaster(2, 3, 3, 4), strided([3, 2], [5, 3], 3), next_frame(3, 3)],
    ids=lambda settings: settings["name"],
)
def test_every_tile_with_its_halo_fits_into_the_memory_allowed(
    settings: dict[str, Any], share: float
) -> None:
    forecaster = forecaster_of(settings, 2, 2)
    model = forecaster.model
    assert isinstance(model, Local)
    height, width = 701, 1003
    whole = WORKSPACE * forecasting_memory(model, (3, 2, 1, height, width), 2)
    tiling = choose_tiling(forecaster, (3, 2, 1, height, width), round(share * whole))
    assert tiling.rows[0] == tiling.columns[0] == 0
    assert (tiling.rows[-1], tiling.columns[-1]) == (height, width)
    assert tiling.halo == model.halo(2, 2)
    assert not any(
        edge % model.multiple for edge in (*tiling.rows[:-1], *tiling.columns[:-1], tiling.halo)
    )
    parts: set[tuple[int, ...]] = set()

    def forecast(part: Tensor) -> Tensor:
        parts.add(tuple(part.shape))
        return part

    forecast_in_tiles(forecast, torch.zeros(3, 2, 1, height, width), 2, tiling)
    assert WORKSPACE * forecasting_memory(model, max(parts, key=math.prod), 2) <= share * whole
    assert len(tiling.tiles) <= 4 / share  # not many more than are needed


@pytest.mark.parametrize(
    "settings",
    [
        encoder_forecaster(1, 3, 3, 1), encoder_forecaster(2, 5, 3, 4, True), strided([3, 2], [5, 3], 3), strided([5, 3, 2], [7, 5, 3], 3),
        next_frame(3, 5), {"name": "fc_lstm", "hidden_channels": [4], "grid_size": [20, 130]},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("steps", [(1, 1), (2, 7), (6, 2)], ids=str)
def test_what_is_known_at_once_is_no_less_than_what_is_needed(
    settings: dict[str, Any], steps: tuple[int, int]
) -> None:
    model, shape = model_of(settings), (2, steps[0], 1, 20, 130)
    needed = forecasting_memory(model, shape, steps[1])
    assert needed <= forecasting_memory_at_most(model, shape, steps[1]) <= 40 * needed


def test_tiles_are_said_in_one_line() -> None:
    tiling = Tiling((0, 512, 1024, 1226), (0, 512, 760), 38, 9_100_000_000, 4_000_000_000)
    assert (
        str(tiling)
        == "6 tiles of 512×512 with a halo of 38 pixels (whole would need 9.1 GB of 4.0 GB)"
    )


def test_too_little_memory_for_any_tile_is_an_error_in_words() -> None:
    forecaster = forecaster_of(encoder_forecaster(2, 3, 3, 4), 2, 2)
    with pytest.raises(
        DeviceError, match=r"700×900 pixels need .* GB .*smallest useful tiles.*max_memory_gb"
    ):
        choose_tiling(forecaster, (1, 2, 1, 700, 900), 100_000)


def test_a_model_that_sees_all_pixels_has_no_tiles() -> None:
    settings = {"name": "fc_lstm", "hidden_channels": [2], "grid_size": [80, 90]}
    forecaster = forecaster_of(settings, 2, 2)
    assert choose_tiling(forecaster, (1, 2, 1, 80, 90), 10**9).tiles == [((0, 80), (0, 90))]
    with pytest.raises(DeviceError, match="sees the whole grid at once"):
        choose_tiling(forecaster, (1, 2, 1, 80, 90), 1000)


def test_memory_allowed_is_what_is_said_or_half_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    assert memory_allowed(1.5, cpu) == 1_500_000_000
    monkeypatch.setattr("nowcast.forecast.memory.free_memory", lambda device: 600)
    assert memory_allowed(None, cpu) == 300
    monkeypatch.setattr("nowcast.forecast.memory.free_memory", lambda device: None)
    assert memory_allowed(None, cpu) == 2_000_000_000


def test_free_memory_is_the_systems(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(
        "MemTotal:       2000 kB\nMemFree:         100 kB\nMemAvailable:    1500 kB\n"
    )
    assert list(_available(tmp_path / "meminfo")) == [1500 * 1024]
    assert list(_available(tmp_path / "elsewhere")) == []
    free = free_memory(torch.device("cpu"))
    assert free is None or free > 0


def test_free_memory_is_the_least_that_control_groups_of_version_2_leave(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("0::/jobs/mine\n")
    for group, limit, usage, cached in (
        ("jobs", "1000", "700", 50),
        ("jobs/mine", "max", "400", 0),
    ):
        folder = tmp_path / "cgroup" / group
        folder.mkdir(exist_ok=True, parents=True)
        for name, text in {
            "max": limit,
            "current": usage,
            "stat": f"anon 1\ninactive_file {cached}\n",
        }.items():
            (folder / f"memory.{name}").write_text(text)
    assert list(_left_in_groups(tmp_path / "self", tmp_path / "cgroup")) == [1000 - 700 + 50]


def test_free_memory_is_what_a_container_of_version_1_leaves_at_its_root(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("5:cpu:/there\n4:memory:/only/on/the/host\n0::/\n")
    folder = tmp_path / "cgroup" / "memory"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("5000\n")
    (folder / "memory.usage_in_bytes").write_text("2000\n")
    (folder / "memory.stat").write_text("inactive_file 7\ntotal_inactive_file 30\n")
    assert list(_left_in_groups(tmp_path / "self", tmp_path / "cgroup")) == [5000 - 2000 + 30]
    assert list(_left_in_groups(tmp_path / "nothing", tmp_path / "cgroup")) == []


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of synthetic rain, 190 × 170 pixels, of which some are not covered."""
    path = tmp_path_factory.mktemp("large") / "rain.nc"
    write_synthetic(path, 8, 190, 170, seed=5, start="2020-02-01", coverage=True)
    return path


def test_predict_in_tiles_writes_the_forecast_of_the_whole(
    run: Callable[..., Outcome], trained: Path, large_file: Path, tmp_path: Path
) -> None:
    words = (
        "predict",
        f"checkpoint={trained}/best.pt",
        f"data.path={large_file}",
        "device=cpu",
        "precision=fp32",
    )
    whole = run(*words, f"output={tmp_path}/whole.nc", "max_memory_gb=1")
    tiled = run(*words, f"output={tmp_path}/tiled.nc", "max_memory_gb=0.003")
    assert (whole.code, tiled.code) == (0, 0), tiled.err
    assert (
        "tiles of" in tiled.err
        and "with a halo of 36 pixels" in tiled.err
        and "tiles of" not in whole.err
    )
    one, other = (
        open_forecast(tmp_path / name)["precipitation_rate"].values
        for name in ("whole.nc", "tiled.nc")
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert np.nanmax(one) > 0


def test_predict_says_that_memory_is_short(
    run: Callable[..., Outcome], trained: Path, large_file: Path, tmp_path: Path
) -> None:
    words = (
        "predict",
        f"checkpoint={trained}/best.pt",
        f"data.path={large_file}",
        "device=cpu",
        f"output={tmp_path}/none.nc",
    )
    outcome = run(*words, "max_memory_gb=0.0001")
    assert outcome.code == 69
    assert "190×170 pixels need" in outcome.err and "max_memory_gb" in outcome.err
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("without_pictures")
def test_evaluate_in_tiles_gives_the_scores_of_the_whole(
    run: Callable[..., Outcome],
    trained: Path,
    large_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = (
        "evaluate", f"checkpoint={trained}/best.pt", "data=radar", f"data.path={large_file}",
        f"data.cache={tmp_path}/cache", "device=cpu", "period=[2020-02-01,2020-02-01]",
        "thresholds=[0.1,0.5]", "min_wet_share=0", "precision=fp32", "stride=1", "batch_size=2",
    )  # fmt: skip
    outcomes, counts = [], set()

    def counted(forecaster: Forecaster, past: Tensor, tiling: Tiling, device: Any) -> Forecast:
        counts.add(len(tiling.tiles))
        return tiled_forecast(forecaster, past, tiling, device)

    monkeypatch.setattr("nowcast.evaluation.window_cases.tiled_forecast", counted)
    for name, allowed in (("whole", 10**9), ("tiled", 6 * 10**6)):
        monkeypatch.setattr(
            "nowcast.evaluation.window_cases.memory_allowed",
            lambda said, device, allowed=allowed: allowed,
        )
        outcomes.append(run(*words, f"output={tmp_path}/{name}"))
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes[1].err
    assert counts == {1, 2}
    assert (tmp_path / "whole" / "scores.csv").read_text() == (
        tmp_path / "tiled" / "scores.csv"
    ).read_text()
