"""Baselines: what needs no motion by hand, what moves rain against a blob whose way is known
and against pysteps itself.
"""

import io
import logging
import math
import subprocess
import sys
import warnings
from contextlib import redirect_stdout
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nowcast.errors import ConfigError, InternalError, MissingLibraryError
from nowcast.forecast.baselines.advection import extrapolate, motion
from nowcast.forecast.baselines.baseline import Baseline
from nowcast.forecast.baselines.building import build_baseline
from nowcast.forecast.baselines.cascades import Sprog, Steps, cascade_levels, seed_of
from nowcast.forecast.baselines.library import quiet
from nowcast.radar.synthetic import synthetic_grid

NAN = math.nan
BY_PYSTEPS = ("sprog", "steps", "steps_mean", "linda", "anvil")
MOVING = ("extrapolation", *BY_PYSTEPS)


def baseline(name: str, input_steps: int = 4, lead_steps: int = 3, **changed: Any) -> Baseline:
    """Of frames every 5 minutes and 1 km; an ensemble has three members."""
    if name in BY_PYSTEPS:
        needs_pysteps()
    settings = {"timestep_minutes": 5.0, "pixel_km": 1.0, "members": 3, "seed": 0, **changed}
    return build_baseline(name, input_steps=input_steps, lead_steps=lead_steps, **settings)


def needs_pysteps() -> None:
    """It prints as it is imported."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in ("pysteps", "skimage"):
            pytest.importorskip(library)


def moved_by_pysteps(past: Tensor, lead_steps: int = 3) -> Tensor:
    """The past (b, t, 1, h, w) extrapolated as S-PROG and STEPS move it: (b, lead, 1, h, w)."""
    with quiet("extrapolation"):
        cases = [
            extrapolate(case[-1], motion(case), lead_steps)
            for case in past[:, :, 0].double().numpy()
        ]
    return torch.from_numpy(np.stack(cases)[:, :, np.newaxis].astype(np.float32))


def row(*frames: list[float]) -> Tensor:
    """Frames of one row → (1, t, 1, 1, w)."""
    return torch.tensor(frames)[None, :, None, None, :]


@cache
def rain() -> Tensor:
    """Two cases of four frames (2, 4, 1, 56, 64), a few pixels of each of them missing in the
    north-west corner.
    """
    frames = torch.from_numpy(synthetic_grid(12, 56, 64, seed=2)["precipitation_rate"].values[4:])
    past = torch.stack([frames[:4], frames[4:8]])[:, :, None].clone()
    past[..., :6, :9] = NAN
    assert (past >= 0.1).float().mean(dim=(2, 3, 4)).min() > 0.05
    return past


def blob(columns: float, rows: float) -> NDArray[np.float64]:
    """A round shower on 80 × 100 pixels with its centre there."""
    y, x = np.mgrid[:80, :100]
    shower: NDArray[np.float64] = 20 * np.exp(
        -((x - columns) ** 2 + (y - rows) ** 2) / (2 * 4.0**2)
    )
    return np.where(shower < 0.1, 0.0, shower)


def centre(field: NDArray[np.float32]) -> tuple[float, float]:
    """Column and row of the centre of mass."""
    mass = np.nan_to_num(field).astype(float)
    y, x = np.indices(mass.shape)
    return float((mass * x).sum() / mass.sum()), float((mass * y).sum() / mass.sum())


def test_persistence_is_the_newest_frame_missing_pixels_and_all() -> None:
    made = baseline("persistence", 2)(row([1.0, 1.0, 1.0], [2.0, NAN, 0.0]))
    assert made.shape == (1, 3, 1, 1, 3)
    for lead in range(3):
        np.testing.assert_array_equal(made[0, lead, 0, 0], [2.0, NAN, 0.0])


def test_zero_is_dry_where_any_frame_covers() -> None:
    made = baseline("zero", 2)(row([1.0, 1.0, NAN], [2.0, NAN, NAN]))
    for lead in range(3):
        np.testing.assert_array_equal(made[0, lead, 0, 0], [0.0, 0.0, NAN])


def test_climatology_is_the_mean_rate_whatever_the_past() -> None:
    mean = np.array([[0.25, NAN, 0.5]])
    made = baseline("climatology", 2, climatology=mean)(
        row([9.0, 9.0, NAN], [9.0, 9.0, NAN]).expand(2, -1, -1, -1, -1)
    )
    assert made.shape == (2, 3, 1, 1, 3) and made.dtype == torch.float32
    for case in range(2):
        for lead in range(3):
            np.testing.assert_array_equal(made[case, lead, 0], mean)


def test_further_channels_of_the_past_are_not_rain() -> None:
    past = torch.cat([row([1.0, 2.0]), row([7.0, NAN])], dim=2)
    assert baseline("persistence", 1, 1)(past).flatten().tolist() == [1.0, 2.0]
    assert baseline("zero", 1, 1)(past).flatten().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("step", [(3, 0), (-2, 1)])
def test_a_shower_is_where_its_motion_takes_it(step: tuple[int, int]) -> None:
    """Three columns a step: from column 30 the newest frame's 39 is 42, 45, … 54 at five steps."""
    frames = np.stack([blob(50 + step[0] * k, 40 + step[1] * k) for k in range(-3, 1)])
    made = baseline("extrapolation", lead_steps=5)(torch.from_numpy(frames)[None, :, None].float())[
        0, :, 0
    ].numpy()
    for lead in range(1, 6):
        assert centre(made[lead - 1]) == pytest.approx(
            (50 + lead * step[0], 40 + lead * step[1]), abs=0.2
        )
    assert np.nanmax(made[-1]) == pytest.approx(20, abs=1)


def test_rain_from_outside_and_from_missing_pixels_is_missing() -> None:
    """Rain moves three columns a step to the right, so after two steps the six columns on the
    left are of nowhere.
    """
    frames = np.stack([blob(50 + 3 * k, 40) for k in range(-3, 1)])
    frames[-1, 10, 60] = NAN
    made = baseline("extrapolation", lead_steps=2)(torch.from_numpy(frames)[None, :, None].float())[
        0, 1, 0
    ]
    assert made[:, :5].isnan().all() and made[30:50, 7:].isfinite().all()
    holes = made[1:-1, 10:].isnan().nonzero() + torch.tensor([1, 10])
    assert 1 <= len(holes) <= 4  # a pixel is made of four
    assert ((holes - torch.tensor([10, 66])).abs() <= 1).all()


def test_all_that_moves_is_missing_at_the_same_pixels_in_all_members() -> None:
    needs_pysteps()
    missing = moved_by_pysteps(rain()).isnan()
    assert 0.01 < missing.float().mean() < 0.5
    for name in BY_PYSTEPS:
        made = baseline(name)(rain())
        assert (made.isnan() == missing.expand_as(made)).all()
    ours = baseline("extrapolation")(rain()).isnan()
    assert (ours != missing).float().mean() < 0.05


def pysteps_by_itself(
    name: str, frames: NDArray[np.float64], lead_steps: int, **settings: Any
) -> NDArray[np.float64]:
    """As its examples call it, for frames without missing pixels."""
    from pysteps import motion, nowcasts
    from pysteps.utils import transformation

    in_db, _ = transformation.dB_transform(frames, threshold=0.1, zerovalue=-15.0)
    velocity = motion.get_method("LK")(in_db)
    in_db = nowcasts.get_method(name)(
        in_db[-3:], velocity, lead_steps, precip_thr=-10.0, **settings
    )
    back: NDArray[np.float64] = transformation.dB_transform(in_db, threshold=-10.0, inverse=True)[0]
    return back


@pytest.mark.filterwarnings("ignore")  # of pysteps
def test_sprog_is_what_pysteps_makes() -> None:
    past = rain()[:1].nan_to_num(0.0)
    made = baseline("sprog")(past)[0, :, 0]
    settings = {"n_cascade_levels": 4, "probmatching_method": "mean"}
    expected = pysteps_by_itself("sprog", past[0, :, 0].double().numpy(), 3, **settings)
    np.testing.assert_allclose(made, expected, rtol=1e-6)
    assert np.nanmax(expected) > 1


@pytest.mark.parametrize("name", ["linda", "anvil"])
@pytest.mark.filterwarnings("ignore")
def test_what_makes_rain_grow_is_what_pysteps_makes_and_the_inflow_is_extrapolated(
    name: str,
) -> None:
    pytest.importorskip("pysteps")
    from pysteps import motion, nowcasts
    from pysteps.utils import transformation

    past = rain()[:1].nan_to_num(0.0)
    frames = past[0, :, 0].double().numpy()
    in_db, _ = transformation.dB_transform(frames, threshold=0.1, zerovalue=-15.0)
    velocity = motion.get_method("LK")(in_db)
    linda = {"max_num_features": 15, "add_perturbations": False}
    anvil = {"n_cascade_levels": 4, "ar_window_radius": 25, "ar_order": 2}
    frames, settings = (frames[-3:], linda) if name == "linda" else (frames, anvil)
    expected = nowcasts.get_method(name)(frames, velocity, 3, **settings)
    one = baseline(name)
    made, moved = (rates[0, :, 0].numpy() for rates in (one(past), moved_by_pysteps(past)))
    told = np.isfinite(expected)
    assert told.mean() > 0.6 and np.nanmax(expected) > 1 and not one.remarks
    np.testing.assert_allclose(made[told], expected[told], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(made[~told], moved[~told])
    assert np.nanmax(np.abs(made - moved)) > 0.1


def test_the_mean_of_steps_is_that_of_its_members() -> None:
    members, mean = baseline("steps")(rain()), baseline("steps_mean")(rain())
    assert mean.shape == (2, 3, 1, 56, 64)
    torch.testing.assert_close(mean, members.mean(dim=2, keepdim=True), equal_nan=True)
    other = baseline("steps_mean", seed=1)(rain())
    assert (other != mean).logical_and(mean.isfinite()).float().mean() > 0.1
    assert "3 members, seed 1" in baseline("steps_mean", seed=1).method


@pytest.mark.filterwarnings("ignore")
def test_members_of_steps_are_those_of_pysteps() -> None:
    """Of rain with a dry border, for what comes from outside is mirrored in ours, and nothing
    or dry in pysteps' own.
    """
    past = torch.nn.functional.pad(
        rain()[:1, ..., 12:-12, 12:-12].nan_to_num(0.0), (12, 12, 12, 12)
    )
    made = baseline("steps")(past)[0].numpy()
    seed = seed_of(past[0, -1, 0].double().numpy(), 0)
    settings = {
        "n_cascade_levels": 4,
        "n_ens_members": 3,
        "kmperpixel": 1.0,
        "timestep": 5.0,
        "seed": seed,
    }
    expected = pysteps_by_itself("steps", past[0, :, 0].double().numpy(), 3, **settings).swapaxes(
        0, 1
    )
    known = np.isfinite(expected) & np.isfinite(made)
    np.testing.assert_allclose(made[known], expected[known], rtol=1e-5)
    assert known.mean() > 0.7 and (expected[known] >= 0.1).mean() > 0.02


def test_sprog_smooths_and_keeps_where_and_how_much_it_rains() -> None:
    sprog = baseline("sprog", lead_steps=6)(rain())[:, -1]
    extrapolation = moved_by_pysteps(rain(), 6)[:, -1]
    known = extrapolation.isfinite()
    assert (sprog[known] >= 0).all() and sprog[known].max() < extrapolation[known].max()
    roughness = [field.diff(dim=-1).abs().nanmean() for field in (extrapolation, sprog)]
    assert roughness[1] < 0.6 * roughness[0]
    wet = [(field[known] >= 0.1).float().mean().item() for field in (extrapolation, sprog)]
    assert wet[1] == pytest.approx(wet[0], rel=0.3)


def test_steps_is_an_ensemble_that_can_be_had_again() -> None:
    made = baseline("steps")(rain())
    assert made.shape == (2, 3, 3, 56, 64) and made.dtype == torch.float32
    known = made.isfinite()
    assert (made[known] >= 0).all() and made[known].max() > 1
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert (made[:, :, one] != made[:, :, other]).logical_and(
            known[:, :, one]
        ).float().mean() > 0.1
    later = baseline("steps")(rain()[1:])  # alone, as predict makes it
    torch.testing.assert_close(later, made[1:], rtol=0, atol=0, equal_nan=True)
    others = baseline("steps", seed=1)(rain())
    assert (others != made).logical_and(known).float().mean() > 0.1


def test_members_spread_as_the_forecast_goes_on() -> None:
    made = baseline("steps", lead_steps=6, members=4)(rain()).nan_to_num(0.0)
    spread = made.std(dim=2).mean(dim=(0, 2, 3))
    assert spread[-1] > 1.2 * spread[0] > 0


def test_seeds_are_of_the_frame_and_of_the_seed() -> None:
    frame = np.array([[0.1, NAN], [0.0, 3.0]])
    assert seed_of(frame, 0) == seed_of(frame.astype(np.float32).astype(np.float64), 0) < 2**32
    assert len({seed_of(frame, 0), seed_of(frame, 1), seed_of(frame[::-1], 0)}) == 3


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((16, 20), 3), ((64, 40), 4), ((100, 128), 5), ((190, 228), 6), ((900, 900), 6)],
)
def test_scales_of_a_cascade_are_octaves(shape: tuple[int, int], levels: int) -> None:
    assert cascade_levels(shape) == levels


@pytest.mark.parametrize("name", MOVING)
def test_without_rain_the_forecast_is_dry_and_what_is_given_instead_is_said_once(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    past = torch.zeros(3, 4, 1, 24, 30)
    past[:, :, :, 0, :5] = NAN
    one = baseline(name)
    with caplog.at_level(logging.WARNING):
        made = one(past)
    np.testing.assert_array_equal(made[0, 0, 0], past[0, -1, 0])
    assert (made[made.isfinite()] == 0).all()
    said = [record.message for record in caplog.records]
    assert said == ([] if name == "extrapolation" else [f"{name}: {next(iter(one.remarks))}"])
    assert list(one.remarks.values()) == [3] * len(said)  # the cases


@pytest.mark.parametrize("name", BY_PYSTEPS)
@pytest.mark.parametrize(
    "kind", ["a pixel", "first frames", "even", "the same again", "in a corner"]
)
def test_rain_of_which_no_change_can_be_told_is_extrapolated(name: str, kind: str) -> None:
    past = rain().nan_to_num(0.0)
    if kind == "a pixel":
        past = torch.zeros_like(past)
        past[..., 20, 30] = 5.0
    elif kind == "first frames":  # the newest alone has rain
        past[:, :-1] = 0.0
    elif kind == "even":
        past = torch.full_like(past, 3.0)
    elif kind == "the same again":
        past[:] = past[:, -1:]
    else:
        past[..., 4:, :] = 0.0
        past[..., 4:] = 0.0
        past[..., :3, :3] = 2.0
    one = baseline(name)
    made, moved = one(past), moved_by_pysteps(past)
    assert (made.isnan() == moved.isnan().expand_as(made)).all() and (
        made[made.isfinite()] >= 0
    ).all()
    if one.remarks:
        torch.testing.assert_close(made, moved.expand_as(made), rtol=0, atol=0, equal_nan=True)
    steady = (made - moved).abs().nan_to_num(0.0).max() < 0.001  # rain that is told not to change
    assert one.remarks or steady or kind == "the same again"


@pytest.mark.parametrize("name", ["sprog", "steps"])
def test_a_failure_of_pysteps_is_not_called_a_lack_of_rain(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        raise ValueError("unknown method\nand more")

    monkeypatch.setattr({"sprog": Sprog, "steps": Steps}[name], "__call__", fails)
    one = baseline(name)
    made, moved = one(rain()), moved_by_pysteps(rain())
    torch.testing.assert_close(made, moved.expand_as(made), rtol=0, atol=0, equal_nan=True)
    reason = (
        "pysteps cannot forecast this rain (ValueError: unknown method): the rain is extrapolated"
        " unchanged"
    )
    assert one.remarks == {reason: len(made)}


@pytest.mark.parametrize("name", BY_PYSTEPS)
def test_a_case_with_a_missing_frame_is_missing_and_others_are_not(name: str) -> None:
    past = rain().clone()
    past[0, 1] = NAN
    one = baseline(name)
    made = one(past)
    assert made[0].isnan().all() and made[1].isfinite().float().mean() > 0.5
    assert one.remarks == {
        "a frame of the past has no measured pixel, so its motion is unknown and the whole forecast is missing": (
            1
        )
    }


def test_extrapolation_follows_the_rain_over_a_missing_frame() -> None:
    """Three columns a step, one of the frames without a measured pixel."""
    frames = torch.from_numpy(np.stack([blob(50 + 3 * k, 40) for k in range(-3, 1)])).float()
    frames[2] = NAN
    made = baseline("extrapolation")(frames[None, :, None])[0, :, 0].numpy()
    assert centre(made[2]) == pytest.approx((59, 40), abs=0.3)


def test_extrapolation_needs_two_frames_to_know_a_motion() -> None:
    past = rain().clone()
    past[0, :-1] = NAN
    one = baseline("extrapolation")
    made = one(past)
    assert made[0].isnan().all() and made[1].isfinite().float().mean() > 0.5
    assert one.remarks == {
        "fewer than two frames of the past have a measured pixel, so the motion is unknown and the whole forecast is missing": (
            1
        )
    }
    past[1, -1] = NAN
    assert one(past).isnan().all()  # nothing to move


@pytest.mark.parametrize("name", MOVING)
def test_nothing_is_printed_and_random_numbers_go_on_as_before(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = baseline(name)
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    one(rain()[:1])
    assert np.random.random() == expected
    assert capsys.readouterr() == ("", "")


def test_nothing_is_imported_before_it_is_needed() -> None:
    look = (
        "import sys, nowcast.forecast; sys.exit(', '.join({'pysteps', 'cv2', 'matplotlib'} &"
        " set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("name", "absent"), [("sprog", "pysteps"), ("linda", "skimage")])
def test_without_its_libraries_it_says_what_to_install(
    name: str, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_pysteps()
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(
        MissingLibraryError,
        match=rf"{name}: needs {absent}: pip install 'nowcast-radar\[baselines\]'",
    ):
        build_baseline(
            name,
            input_steps=4,
            lead_steps=1,
            timestep_minutes=5.0,
            pixel_km=1.0,
            members=2,
            seed=0,
        )
    assert baseline("extrapolation")(rain()).isfinite().any()


def test_a_library_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(library: str) -> None:
        raise RuntimeError("Error reading pystepsrc file.")

    monkeypatch.setattr("nowcast.forecast.baselines.library.import_module", broken)
    with pytest.raises(
        MissingLibraryError,
        match=r"sprog: pysteps cannot be loaded \(Error reading pystepsrc file.\)",
    ):
        build_baseline(
            "sprog",
            input_steps=4,
            lead_steps=1,
            timestep_minutes=5.0,
            pixel_km=1.0,
            members=2,
            seed=0,
        )


def test_a_failure_of_pysteps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    one = baseline("sprog")
    monkeypatch.setattr("pysteps.motion.interface._methods", {})
    with pytest.raises(InternalError, match="sprog: pysteps failed"):
        one(rain())


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        ("rover", {}, "baseline: 'rover' is unknown; choose persistence, extrapolation"),
        (
            "extrapolation",
            {"input_steps": 1},
            "input_steps: extrapolation needs at least 2 frames, not 1",
        ),
        ("sprog", {"input_steps": 2}, "input_steps: sprog needs at least 3 frames, not 2"),
        ("linda", {"input_steps": 2}, "input_steps: linda needs at least 3 frames, not 2"),
        ("anvil", {"input_steps": 3}, "input_steps: anvil needs at least 4 frames, not 3"),
        ("steps", {"timestep_minutes": None}, "steps needs frames with times"),
        ("steps_mean", {"timestep_minutes": None}, "steps_mean needs frames with times"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        baseline(name, **changed)


@pytest.mark.parametrize("name", ["persistence", "zero", *MOVING])
def test_it_can_be_called_as_a_model_is(name: str) -> None:
    one = baseline(name)
    assert (one.input_steps, one.lead_steps, one.timestep_minutes) == (4, 3, 5.0)
    assert one.members == (3 if name == "steps" else 1)
    made = one(rain().to(torch.bfloat16))
    assert made.shape == (2, 3, one.members, 56, 64) and (made.dtype, made.device) == (
        torch.float32,
        rain().device,
    )


def mean_csi(made: Tensor, observed: Tensor, threshold: float) -> float:
    """Over lead times, of forecasts (cases, lead, 1, h, w) where both are known."""
    known = made.isfinite() & observed.isfinite()
    forecast, seen = (made >= threshold) & known, (observed >= threshold) & known
    hits, either = ((one).sum(dim=(0, 2, 3, 4)) for one in (forecast & seen, forecast | seen))
    return float((hits / either).mean())


@pytest.mark.parametrize("threshold", [0.5, 2.0])
def test_extrapolation_scores_as_that_of_pysteps(threshold: float) -> None:
    """Or better: its motion follows the rain around more closely."""
    needs_pysteps()
    frames = torch.from_numpy(synthetic_grid(28, 128, 150, seed=4)["precipitation_rate"].values)
    starts = range(0, len(frames) - 10, 3)
    past, future = (
        torch.stack([frames[start + a : start + b] for start in starts])[:, :, None]
        for a, b in ((0, 4), (4, 10))
    )
    ours = mean_csi(baseline("extrapolation", lead_steps=6)(past), future, threshold)
    theirs = mean_csi(moved_by_pysteps(past, 6), future, threshold)
    assert ours > theirs - 0.005 and theirs > 0.2
