"""S-PROG and STEPS: rain in dB is split into scales, and each scale changes at its own pace while
it is advected.

The settings are those of the examples in pysteps.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from nowcast.arrays import Float64Array
from nowcast.baselines import AR_FRAMES, Forecast, Making
from nowcast.forecast.baselines.advection import DRY_DB, WET_DB, Advection, to_db, to_rate


def build_sprog(making: Making) -> Forecast:
    return Advection(making.name, making.lead_steps, making.remarks, Sprog(making.lead_steps))


def build_steps(making: Making) -> Forecast:
    return Advection(making.name, making.lead_steps, making.remarks, _steps(making))


def build_steps_mean(making: Making) -> Forecast:
    mean = StepsMean(_steps(making))
    return Advection(making.name, making.lead_steps, making.remarks, mean)


def _steps(making: Making) -> "Steps":
    assert making.timestep_minutes is not None
    return Steps(
        making.lead_steps, making.timestep_minutes, making.pixel_km, making.members, making.seed
    )


@dataclass(frozen=True)
class Sprog:
    """S-PROG (Seed 2003): each scale fades according to its autoregression.

    The mean dB of the wet pixels stays that of the newest frame.
    """

    lead_steps: int
    members: int = 1

    def suits(self, rain: Float64Array) -> bool:
        return all(has_rain(frame, None) for frame in newest_in_db(rain))

    def __call__(self, rain: Float64Array, velocity: Float64Array) -> Float64Array:
        """The past (t, h, w) [mm/h, NaN = missing], t ≥ 3, and its motion (2, h, w) → (1, lead,
        h, w).
        """
        from pysteps.nowcasts import get_method

        made = get_method("sprog")(
            newest_in_db(rain),
            velocity,
            self.lead_steps,
            precip_thr=WET_DB,
            n_cascade_levels=cascade_levels(rain.shape[1:]),
            probmatching_method="mean",
            num_workers=1,
        )
        return to_rate(made)[np.newaxis]


@dataclass(frozen=True)
class Steps:
    """STEPS (Bowler et al. 2006): each scale fades and is replaced by noise of the same spectrum,
    and the motion is perturbed.

    Inflow from outside the grid is filled by mirroring, so all members cover the same pixels: those
    whose rain comes from inside the grid under the unperturbed motion. The noise depends only on
    `seed` and the newest frame, so a case has the same members wherever it is forecast.
    """

    lead_steps: int
    timestep_minutes: float
    pixel_km: float
    members: int
    seed: int

    def suits(self, rain: Float64Array) -> bool:
        return all(has_rain(frame, "tukey") for frame in newest_in_db(rain))

    def __call__(self, rain: Float64Array, velocity: Float64Array) -> Float64Array:
        """The past (t, h, w) [mm/h, NaN = missing], t ≥ 3, and its motion (2, h, w) → (members,
        lead, h, w).
        """
        from pysteps.nowcasts import get_method

        made = get_method("steps")(
            newest_in_db(rain),
            velocity,
            self.lead_steps,
            n_ens_members=self.members,
            n_cascade_levels=cascade_levels(rain.shape[1:]),
            precip_thr=WET_DB,
            kmperpixel=self.pixel_km,
            timestep=self.timestep_minutes,
            noise_method="nonparametric",
            vel_pert_method="bps",
            mask_method="incremental",
            probmatching_method="cdf",
            extrap_kwargs={"map_coordinates_mode": "mirror"},
            seed=seed_of(rain[-1], self.seed),
            num_workers=1,
        )
        return to_rate(made)


@dataclass(frozen=True)
class StepsMean:
    """The mean in mm/h of the members of STEPS as one forecast."""

    steps: Steps
    members: int = 1

    def suits(self, rain: Float64Array) -> bool:
        return self.steps.suits(rain)

    def __call__(self, rain: Float64Array, velocity: Float64Array) -> Float64Array:
        """The past (t, h, w) [mm/h, NaN = missing], t ≥ 3, and its motion (2, h, w) → (1, lead,
        h, w).
        """
        mean: Float64Array = self.steps(rain, velocity).mean(axis=0, keepdims=True)
        return mean


def newest_in_db(rain: Float64Array) -> Float64Array:
    """Return the three newest frames in dB; missing pixels become dry."""
    return np.nan_to_num(to_db(rain[-AR_FRAMES:]), nan=DRY_DB)


def has_rain(frame: Float64Array, window: str | None) -> bool:
    """Whether a frame (h, w) [dB] has rain, under the window of this name that the noise generator
    of pysteps applies to it.
    """
    from pysteps.utils.check_norain import check_norain

    return not check_norain(frame, WET_DB, 0.0, window)


def cascade_levels(shape: tuple[int, ...]) -> int:
    """Return 6 if the longer side has about 256 pixels or more, one less for each halving, at least
    3: each level is about an octave.
    """
    return int(np.clip(round(np.log2(max(shape))) - 2, 3, 6))


def seed_of(newest: Float64Array, seed: int) -> int:
    """Return a seed below 2³², the same for the same frame (h, w) and `seed`."""
    content = np.nan_to_num(newest, nan=-1.0).astype("<f4").tobytes()
    return int.from_bytes(hashlib.sha256(f"{seed} ".encode() + content).digest()[:4])
