"""The cases that a configuration names: of trained models, forecast files or baselines. Several of
these are joined to the cases that all have.
"""

import copy
import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from nowcast.config.data import MovingMnistConfig
from nowcast.config.evaluate import EvaluateConfig
from nowcast.errors import ConfigError, DataError
from nowcast.evaluation.cases import Source
from nowcast.evaluation.file_cases import open_file_cases
from nowcast.evaluation.joined_cases import JoinedCases
from nowcast.evaluation.several_cases import SeveralCases
from nowcast.evaluation.validation_cases import with_fitted_cuts
from nowcast.evaluation.window_cases import WindowCases, open_digit_cases, open_radar_cases
from nowcast.factories.extra_inputs import field_names, refuse_strangers
from nowcast.factories.models import refuse_unlike
from nowcast.factories.windows import require_radar
from nowcast.forecast.any_grid import is_for_any_grid
from nowcast.forecast.dataset import MODEL
from nowcast.pretrained import checkpoint_name, checkpoint_paths, refuse_same_model
from nowcast.radar.times import Times
from nowcast.training.checkpoints import read_checkpoint
from nowcast.training.precision import Precision
from nowcast.verification.remarks import WITH_MEMBERS

log = logging.getLogger(__name__)


def open_source(config: EvaluateConfig, precision: Precision) -> Source:
    """Return the cases that the configuration names. Errors: as all that it opens."""
    files = _open_files(config)
    if not config.checkpoints:
        if files:
            return _joined(files)
        return _with_cuts(config, _open_made(config, precision, MODEL, None))
    times = reduce(np.union1d, [one.times for one in files.values()]) if files else None
    models = _open_models(config, precision, times)
    same = sorted(files.keys() & {name for one in models.values() for name in one.predictors})
    if same:
        raise ConfigError(
            f"forecasts: were made by {', '.join(same)}, and another forecast has this name; give"
            " each its own name, as forecasts={theirs: …}."
        )
    return _joined(models | files)


def refuse_without_members(source: Source) -> None:
    """Errors: ConfigError if none of the forecasts of a source has members."""
    forecasts = source.read([0]).forecasts if len(source.times) else ()
    if forecasts and not any(name.endswith(WITH_MEMBERS) for name in forecasts):
        raise ConfigError(
            "ensemble: members are drawn from probabilities, but no forecast gives any; leave it"
            " out, or add baseline=lagrangian_probability."
        )


def _joined(parts: Mapping[str, Source]) -> Source:
    return next(iter(parts.values())) if len(parts) == 1 else JoinedCases(parts)


def _open_files(config: EvaluateConfig) -> dict[str, Source]:
    """Open the forecast files by name; baselines come with the first, unless a model is scored."""
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
    """Open the models by name, at these reference times if any; baselines come with the first."""
    if times is not None and not times.size:
        raise DataError("there is no case to score; give other forecast files.")
    of_files = {} if times is None else {"period": [str(times[0]), str(times[-1])]}
    models = {name or MODEL: checkpoint_paths(one) for name, one in config.checkpoints.items()}
    every = list(dict.fromkeys(path for paths in models.values() for path in paths))
    paths, lead_steps = _input_paths(config, every), _lead_steps(config, models)
    opened: dict[str, Source] = {}
    for name, own_paths in models.items():
        if len(every) > 1:
            log.info("%s: %s", name, checkpoint_name(own_paths))
        refuse_same_model(own_paths)
        parts = list[WindowCases]()
        for path in own_paths:
            steps = {"lead_steps": lead_steps[path], "input_paths": paths[path]}
            own = _with(config, checkpoint=path, forecasts=None, **steps, **of_files)
            if len(own_paths) > 1:
                own = _with(own, ensemble=None)
            if opened or parts:
                own = _with(own, baseline=[])
            parts.append(_open_made(own, precision, name, times))
        several = len(parts) > 1
        cases = SeveralCases(parts, own_paths, name, config) if several else parts[0]
        opened[name] = cases if opened else _with_cuts(config, cases)
    if isinstance(config.data, MovingMnistConfig):
        _refuse_other_sequences(opened)
    return opened


def _open_made(
    config: EvaluateConfig, precision: Precision, name: str, times: Times | None
) -> WindowCases:
    """Open cases that a model of this name, or baselines, forecast during the evaluation."""
    if isinstance(config.data, MovingMnistConfig):
        return open_digit_cases(config, config.data, precision, name)
    return open_radar_cases(config, require_radar(config.data), precision, name, times)


def _with_cuts(config: EvaluateConfig, cases: WindowCases | SeveralCases) -> Source:
    """Add the baselines with fitted cuts to the cases, if cuts are to be fitted."""
    if not config.fit_cuts or isinstance(config.data, MovingMnistConfig):
        return cases
    return with_fitted_cuts(config, require_radar(config.data), cases)


def _input_paths(config: EvaluateConfig, checkpoints: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return for each checkpoint the paths of the fields that its model sees; a single model is
    given all paths.

    Errors: ConfigError for a field that no model sees.
    """
    paths = config.input_paths
    if not paths or len(checkpoints) == 1:
        return dict.fromkeys(checkpoints, paths)
    known = {one: field_names(read_checkpoint(one)["config"]) for one in checkpoints}
    refuse_strangers(paths, sorted({field for names in known.values() for field in names}))
    return {
        name: {field: paths[field] for field in names if field in paths}
        for name, names in known.items()
    }


def _lead_steps(
    config: EvaluateConfig, models: Mapping[str, Sequence[str]]
) -> dict[str, int | None]:
    """Return for each checkpoint the lead steps to request from its model.

    Next to a model for any grid, another model with enough lead steps gives all of its own, and the
    common ones are scored. A model for any grid that is combined with others gives as many as they
    have.

    Errors: ConfigError if models that are combined do not match.
    """
    asked, checkpoints = config.lead_steps, [one for several in models.values() for one in several]
    steps: dict[str, int | None] = dict.fromkeys(checkpoints, asked)
    if len(checkpoints) == 1:
        return steps
    configs = {one: read_checkpoint(one)["config"] for one in checkpoints}
    for several in models.values():
        own = {one: configs[one] for one in several}
        refuse_unlike({checkpoint_name(name): one for name, one in own.items()})
        fixed = [one["lead_steps"] for one in own.values() if not is_for_any_grid(one)]
        if fixed:
            steps |= {name: fixed[0] for name, one in own.items() if is_for_any_grid(one)}
    if asked is None:
        return steps
    others = {name: one for name, one in configs.items() if not is_for_any_grid(one)}
    enough = [name for name, one in others.items() if one["lead_steps"] >= asked]
    if len(others) < len(configs):
        steps.update(dict.fromkeys(enough))
    return steps


def _refuse_other_sequences(models: Mapping[str, Source]) -> None:
    """Errors: ConfigError if models see or forecast different numbers of frames of digits, because
    their sequences are generated for one number.
    """
    steps = {
        name: (one.windows.input_steps, one.windows.lead_steps)
        for name, one in models.items()
        if isinstance(one, WindowCases | SeveralCases)
    }
    if len(set(steps.values())) > 1:
        said = ", ".join(f"{name} {past} and {ahead}" for name, (past, ahead) in steps.items())
        raise ConfigError(
            "checkpoint: models are compared on the same sequences of digits, so they need the same"
            f" input_steps and lead_steps, not {said}; score them separately."
        )


def _with(config: EvaluateConfig, **changes: Any) -> EvaluateConfig:
    """Return the configuration of a part, without checking it again."""
    own = copy.copy(config)
    for key, value in changes.items():
        setattr(own, key, value)
    return own
