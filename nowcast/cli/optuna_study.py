"""Resume an Optuna study where an earlier run of the sweep stopped."""

import logging
import warnings
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf, open_dict, read_write

log = logging.getLogger(__name__)

_TRIALS = "hydra.sweeper.n_trials"


def go_on(config: Any) -> None:
    """Resume the search of this sweep if it is an Optuna sweep.

    Without a storage the same command draws the same trials again, and finished jobs return at
    once: the sampler uses the seed of the training unless another is given. With a storage, stopped
    and failed trials are tried first, and complete trials count.
    """
    if OmegaConf.select(config, _TRIALS) is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the modules that it imports
        import optuna

    optuna.logging.disable_default_handler()  # Hydra's log says the same
    sweeper = config.hydra.sweeper
    sampler = OmegaConf.to_container(sweeper.sampler)
    assert isinstance(sampler, dict)
    complete = known = 0
    # a grid sampler finds untried points itself
    if (
        isinstance(sweeper.storage, str)
        and sweeper.study_name
        and "GridSampler" not in str(sampler)
    ):
        complete, known = _retry(sweeper.storage, sweeper.study_name, Path(config.hydra.sweep.dir))
    with read_write(config.hydra), open_dict(config.hydra):
        sweeper.n_trials = max(0, sweeper.n_trials - complete)
        if sampler.get("seed", 0) is None:
            # changes as the study grows; otherwise the first draws would be repeated
            sweeper.sampler.seed = config.seed + known


def _retry(storage: str, name: str, folder: Path) -> tuple[int, int]:
    """Queue the stopped and failed trials of a study again, unless jobs of the sweep still run.

    Return how many trials are complete, and how many exist.
    """
    import optuna
    from optuna.trial import TrialState

    from nowcast.files import is_written

    if name not in [one.study_name for one in optuna.get_all_study_summaries(storage)]:
        return 0, 0
    study = optuna.load_study(study_name=name, storage=storage)
    trials = study.get_trials()
    settled = [
        one.params for one in trials if one.state in (TrialState.COMPLETE, TrialState.WAITING)
    ]
    # another sweep may share the study
    ours = [one for one in trials if one.user_attrs.get("output", str(folder)) == str(folder)]
    goes_on = any(is_written(one) for one in folder.glob("*"))
    stopped = [one for one in ours if one.state == TrialState.RUNNING and not goes_on]
    for trial in stopped:
        study.tell(trial.number, state=TrialState.FAIL)
    failed = [one.params for one in trials if one in stopped or one.state == TrialState.FAIL]
    again = [one for one in failed if one and one not in settled]
    for place, params in enumerate(again):
        if params not in again[:place]:
            study.enqueue_trial(params)
    complete = sum(one.state == TrialState.COMPLETE for one in trials)
    log.info("the study %s has %d trials, %d complete", name, len(trials), complete)
    return complete, len(trials)
