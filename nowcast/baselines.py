"""The table of baselines: the name, needs and function of each.

Nothing heavy is imported: `build` names a function of `nowcast.forecast.baselines`. A package adds
its own record with an entry point in the group `nowcast.baselines`.
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nowcast.errors import ConfigError, MissingLibraryError
from nowcast.plugins import BASELINES, load_plugin, plugins

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AR_FRAMES = 3
"""Frames needed for an autoregression of order 2."""

LINDA_FRAMES = 3
ANVIL_FRAMES = 4
"""Frames needed for an autoregression of the changes, of order 1 (LINDA) or 2 (ANVIL)."""


@dataclass(frozen=True)
class Making:
    """The inputs for building a baseline.

    timestep_minutes, pixel_km: time step and pixel size. members, seed: for an ensemble.
    mean_rate: (h, w) over past days [mm/h], NaN = missing, for a record with needs_days.
    remarks: deviations from the method with their number of cases; filled by the baseline.
    """

    name: str
    lead_steps: int
    timestep_minutes: float | None
    pixel_km: float
    members: int
    seed: int
    mean_rate: "NDArray[np.float64] | None"
    remarks: Counter[str]


Forecast = Callable[[Any], Any]
"""Past rain (b, t, h, w) → forecasts (b, lead, m, h, w): tensors in mm/h, NaN = missing; or a
`nowcast.probability.forecast.Forecast`, which also has probabilities.
"""


@dataclass(frozen=True)
class BaselineRecord:
    """One baseline.

    name: the value of `baseline=`.
    build: the function from a Making to a Forecast, or "module:function" to import it later.
    method, references: description and publication, for the forecast file.
    least_steps: fewest input frames; if more than one, none may be missing.
    ensemble: whether it gives `members` forecasts.
    averages_members: whether it is the mean of `members` forecasts.
    sees_rain: whether its forecast depends on the past rain.
    needs_days: whether it uses the mean rate over data.train.
    needs_spacing: whether it needs the times of frames and the pixel size.
    libraries: the optional libraries that it needs.
    """

    name: str
    build: str | Callable[[Making], Forecast]
    method: str
    references: str
    least_steps: int = 1
    ensemble: bool = False
    averages_members: bool = False
    sees_rain: bool = True
    needs_days: bool = False
    needs_spacing: bool = False
    libraries: tuple[str, ...] = ()

    @property
    def follows_rain(self) -> bool:
        """Whether it sees more than the newest frame."""
        return self.least_steps > 1

    @property
    def draws_members(self) -> bool:
        """Whether its forecast depends on `members` and `seed`."""
        return self.ensemble or self.averages_members

    @property
    def is_for_radar(self) -> bool:
        """Whether it is for radar only: moving digits bounce and have no days."""
        return self.follows_rain or self.needs_days

    def make(self, making: Making) -> Forecast:
        """Return the forecasting function."""
        if callable(self.build):
            return self.build(making)
        module, _, function = self.build.partition(":")
        forecast: Forecast = getattr(import_module(module), function)(making)
        return forecast


_HERE = "nowcast.forecast.baselines"
_PYSTEPS = "Pulkkinen et al. 2019, https://doi.org/10.5194/gmd-12-4185-2019"
_GERMANN = (
    "Germann and Zawadzki 2002, https://doi.org/10.1175/1520-0493(2002)130<2859:SDOTPO>2.0.CO;2"
)
_GERMANN_2004 = (
    "Germann and Zawadzki 2004, https://doi.org/10.1175/1520-0450(2004)043<0074:SDOTPO>2.0.CO;2"
)
_THEIS = "Theis et al. 2005, https://doi.org/10.1017/S1350482705001763"
_SEED = "Seed 2003, https://doi.org/10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2"
_BOWLER = "Bowler et al. 2006, https://doi.org/10.1256/qj.04.100"
_LINDA = "Pulkkinen et al. 2021, https://doi.org/10.1175/JTECH-D-21-0013.1"
_ANVIL = "Pulkkinen et al. 2020, https://doi.org/10.1109/TGRS.2020.2984594"
_WILKS = "Wilks 2019, Statistical Methods in the Atmospheric Sciences"

RECORDS: dict[str, BaselineRecord] = {
    record.name: record
    for record in (
        BaselineRecord(
            "persistence",
            f"{_HERE}.plain:build_persistence",
            "persistence: the newest frame, unchanged",
            _GERMANN,
        ),
        BaselineRecord(
            "extrapolation",
            f"{_HERE}.extrapolation:build_extrapolation",
            "the newest frame, advected with the rain",
            f"{_GERMANN}; {_PYSTEPS}",
            least_steps=2,
        ),
        BaselineRecord(
            "lagrangian_probability",
            f"{_HERE}.lagrangian:build_lagrangian_probability",
            "Lagrangian probabilities: the share of growing neighbourhoods of the advected rain"
            " that reaches each threshold",
            f"{_GERMANN_2004}; {_THEIS}",
            least_steps=2,
        ),
        BaselineRecord(
            "sprog",
            f"{_HERE}.cascades:build_sprog",
            "S-PROG: advected rain, smoothed where it becomes unpredictable",
            f"{_SEED}; {_PYSTEPS}",
            least_steps=AR_FRAMES,
            libraries=("pysteps",),
        ),
        BaselineRecord(
            "steps",
            f"{_HERE}.cascades:build_steps",
            "STEPS: an ensemble of advected rain, with noise in rain and motion",
            f"{_BOWLER}; {_PYSTEPS}",
            least_steps=AR_FRAMES,
            libraries=("pysteps",),
            ensemble=True,
            needs_spacing=True,
        ),
        BaselineRecord(
            "steps_mean",
            f"{_HERE}.cascades:build_steps_mean",
            "the mean of the members of STEPS",
            f"{_BOWLER}; {_PYSTEPS}",
            least_steps=AR_FRAMES,
            libraries=("pysteps",),
            averages_members=True,
            needs_spacing=True,
        ),
        BaselineRecord(
            "linda",
            f"{_HERE}.linda:build_linda",
            "LINDA: advected rain, with growth and decay around each shower",
            f"{_LINDA}; {_PYSTEPS}",
            least_steps=LINDA_FRAMES,
            libraries=("pysteps", "skimage"),
        ),
        BaselineRecord(
            "anvil",
            f"{_HERE}.anvil:build_anvil",
            "ANVIL: advected rain, with growth and decay at each scale",
            f"{_ANVIL}; {_PYSTEPS}",
            least_steps=ANVIL_FRAMES,
            libraries=("pysteps",),
        ),
        BaselineRecord(
            "climatology",
            f"{_HERE}.plain:build_climatology",
            "climatology: the mean rate of each pixel over past days",
            _WILKS,
            needs_days=True,
            sees_rain=False,
        ),
        BaselineRecord(
            "zero", f"{_HERE}.plain:build_zero", "no rain anywhere", _WILKS, sees_rain=False
        ),
    )
}
"""The baselines of nowcast, in the order of messages and reports."""


def baseline_names() -> tuple[str, ...]:
    """Return the names of all baselines: ours, then those of installed packages."""
    return (*RECORDS, *(name for name in plugins(BASELINES) if name not in RECORDS))


def baseline_record(name: str) -> BaselineRecord:
    """Return the record of a baseline.

    Errors: ConfigError for an unknown name; MissingLibraryError if the package that adds it cannot
    be used.
    """
    if name in RECORDS:
        return RECORDS[name]
    if name not in plugins(BASELINES):
        raise ConfigError(
            f"baseline: {name!r} is unknown; choose {', '.join(baseline_names())}, or install the"
            " package that adds it."
        )
    record: Any = load_plugin(BASELINES, name)
    if not isinstance(record, BaselineRecord) or record.name != name:
        raise MissingLibraryError(
            f"{name}: the entry point in {BASELINES} is not a BaselineRecord of this name; update"
            " the package that adds it."
        )
    return record


def names_where(has: str, among: Collection[str]) -> list[str]:
    """Return the baselines in `among` whose record has a property such as `ensemble`."""
    return [name for name in among if getattr(baseline_record(name), has)]
