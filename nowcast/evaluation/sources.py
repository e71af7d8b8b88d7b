"""The cases that a configuration names: of trained models, of forecast files, of baselines; of
several of them the cases that all have.
"""

import copy
import logging
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np

from nowcast.config.data import MovingMnistConfig
from nowcast.config.evaluate import EvaluateConfig
from nowcast.errors import ConfigError, DataError
from nowcast.evaluation.cases import Source
from nowcast.evaluation.file_cases import open_file_cases
from nowcast.evaluation.joined_cases import JoinedCases
from nowcast.evaluation.validation_cases import with_fitted_cuts
from nowcast.evaluation.window_cases import WindowCases, open_digit_cases, open_radar_cases
from nowcast.factories.extra_inputs import field_names, refuse_strangers
from nowcast.factories.windows import require_radar
from nowcast.forecast.any_grid import is_for_any_grid
from nowcast.forecast.dataset import MODEL
from nowcast.radar.times import Times
from nowcast.training.checkpoints import read_checkpoint
from nowcast.training.precision import Precision
from nowcast.verification.remarks import WITH_MEMBERS

log = logging.getLogger(__name__)


def open_source(config: EvaluateConfig, precision: Precision) -> Source:
    """The cases that the configuration names. Errors: as all that it opens."""
    files = _open_files(config)
    if not config.checkpoints:
        return _joined(files) if files else _open_made(config, precision, MODEL, None)
    times = reduce(np.union1d, [one.times for one in files.values()]) if files else None
    models = _open_models(config, precision, times)
    same = sorted(files.keys() & {name for one in models.values() for name in one.predictors})
    if same:
        raise ConfigError(
            f"forecasts: were made by {', '.join(same)}, and another forecast has this name; give"
            " each its own, as forecasts={theirs: …}."
        )
    return _joined(models | files)


def refuse_without_members(source: Source) -> None:
    """Errors: ConfigError if none of the forecasts of a source has members."""
    forecasts = source.read([0]).forecasts if len(source.times) else ()
    if forecasts and not any(name.endswith(WITH_MEMBERS) for name in forecasts):
        raise ConfigError(
            "ensemble: members are drawn from probabilities, and no forecast gives any; leave it"
            " out, or add baseline=lagrangian_probability."
        )


def _joined(parts: Mapping[str, Source]) -> Source:
    return next(iter(parts.values())) if len(parts) == 1 else JoinedCases(parts)


def _open_files(config: EvaluateConfig) -> dict[str, Source]:
    """The forecast files by name; the baselines come with the first, unless a model is scored."""
    opened: dict[str, Source] = {}
    for name, path in config.folders.items():
        baseline = [] if opened or config.checkpoints else config.baseline
        own = _with(config, checkpoint=None, forecasts=path, baseline=baseline)
        cases = open_file_cases(own, path, require_radar(config.data), name)
        opened[cases.name] = cases
    return opened


def _open_models(
    config: EvaluateConfig, precision: Precision, times: Times | None
) -> dict[str, Source]:
    """The models by name, at these reference times if given; the baselines come with the first."""
    if times is not None and not times.size:
        raise DataError("there is no case to score; give other forecast files.")
    of_files = {} if times is None else {"period": [str(times[0]), str(times[-1])]}
    paths, lead_steps = _input_paths(config), _lead_steps(config)
    opened: dict[str, Source] = {}
    for name, path in config.checkpoints.items():
        if len(config.checkpoints) > 1:
            log.info("%s: %s", name, path)
        steps = {"lead_steps": lead_steps[name], "input_paths": paths[name]}
        own = _with(config, checkpoint=path, forecasts=None, **steps, **of_files)
        if opened:
            own = _with(own, baseline=[], fit_cuts=False)
        opened[name or MODEL] = _open_made(own, precision, name or MODEL, times)
    if isinstance(config.data, MovingMnistConfig):
        _refuse_other_sequences(opened)
    return opened


def _open_made(
    config: EvaluateConfig, precision: Precision, name: str, times: Times | None
) -> Source:
    """Cases that a model of this name, or baselines, forecast now."""
    if isinstance(config.data, MovingMnistConfig):
        return open_digit_cases(config, config.data, precision, name)
    data = require_radar(config.data)
    cases = open_radar_cases(config, data, precision, name, times)
    return with_fitted_cuts(config, data, cases) if config.fit_cuts else cases


def _input_paths(config: EvaluateConfig) -> dict[str, dict[str, str]]:
    """Of each model the paths of the fields that it sees; one model is given all of them.

    Errors: ConfigError for a field that none sees.
    """
    paths, checkpoints = config.input_paths, config.checkpoints
    if not paths or len(checkpoints) == 1:
        return dict.fromkeys(checkpoints, paths)
    known = {name: field_names(read_checkpoint(one)["config"]) for name, one in checkpoints.items()}
    refuse_strangers(paths, sorted({field for names in known.values() for field in names}))
    return {
        name: {field: paths[field] for field in names if field in paths}
        for name, names in known.items()
    }


def _lead_steps(config: EvaluateConfig) -> dict[str, int | None]:
    """Of each model the lead steps to ask it for. Next to a model for any grid another one that has
    enough is asked for all it has; the common ones are scored.
    """
    asked, checkpoints = config.lead_steps, config.checkpoints
    steps = dict.fromkeys(checkpoints, asked)
    if asked is None or len(checkpoints) == 1:
        return steps
    configs = {name: read_checkpoint(one)["config"] for name, one in checkpoints.items()}
    others = {name: one for name, one in configs.items() if not is_for_any_grid(one)}
    enough = [name for name, one in others.items() if one["lead_steps"] >= asked]
    return steps | dict.fromkeys(enough if len(others) < len(configs) else (), None)


def _refuse_other_sequences(models: Mapping[str, Source]) -> None:
    """Errors: ConfigError if models see or forecast other numbers of frames of digits, whose
    sequences are made to measure.
    """
    steps = {
        name: (one.windows.input_steps, one.windows.lead_steps)
        for name, one in models.items()
        if isinstance(one, WindowCases)
    }
    if len(set(steps.values())) > 1:
        said = ", ".join(f"{name} {past} and {ahead}" for name, (past, ahead) in steps.items())
        raise ConfigError(
            "checkpoint: models are compared on the same sequences of digits, so they need the same"
            f" input_steps and lead_steps, not {said}; score them apart."
        )


def _with(config: EvaluateConfig, **changes: Any) -> EvaluateConfig:
    """The configuration of a part: checked already, as part of the whole."""
    own = copy.copy(config)
    for key, value in changes.items():
        setattr(own, key, value)
    return own
