"""Trained models outside PyTorch: ONNX files that ONNX Runtime computes, a small part of PyTorch to
load.

The file is an ONNX model like any other: an input `past` (1, t, 1 + k, h, w) and an output `rates`
(1, lead, 1, h, w), in mm/h, NaN = not covered. A model of the moving frame has a second input,
`motion` (1, 2, hc, wc) as `nowcast.motion` estimates it; one of probabilities a second output,
`probabilities` (1, lead, k, h, w). What it was made from stands in its metadata under
`nowcast`, as JSON; the last of its metadata is the SHA-256 of all bytes before it, so that one
flipped bit is noticed before anything of it is used. It tells damage, not who wrote the file, so
`graphs.py` looks at what the graph would do.
"""

import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nowcast.arrays import Float32Array
from nowcast.errors import DataError, MissingInputError, MissingLibraryError
from nowcast.files import refuse_fault_of_machine
from nowcast.forecast.file_probability import FileProbabilities
from nowcast.forecast.graphs import GraphError, peak_memory
from nowcast.forecast.scene_forecast import SceneForecast
from nowcast.motion.estimation import estimate_motion
from nowcast.motion.grid import coarse_size
from nowcast.version import install_command

Result = TypeVar("Result")

SUFFIX = ".onnx"
PAST, MOTION, RATES, PROBABILITIES = "past", "motion", "rates", "probabilities"
SCHEMA = 2
"""Raised whenever an older program could no longer read a new file."""

_ABOUT = "nowcast"
_SEAL = b"\x72\x52\x0a\x0enowcast_sha256\x12\x40"
"""As Protocol Buffers write it, up to its value: field 14 of a model is metadata, 82 bytes; a
key of 14, a value of 64. Messages one after the other are one message, so that a field can be
appended to a file.
"""
_DIGEST = 64  # hexadecimal digits
_LARGEST = 2**31  # bytes; Protocol Buffers hold no more
_EXTERNAL = re.compile(rb"[\x00\x08]location")
"""The key by which a tensor names another file that holds its numbers, behind its length
however that is written.
"""


@dataclass(frozen=True)
class ExportedForecaster:
    """A model that was exported.

    about: config, place and versions of its checkpoint, as there; exported_from_sha256, of that;
    schema; grid_size, pixels of the frames that it takes; memory_bytes, about what it takes to
    forecast them; thresholds in mm/h, if it gives probabilities.
    memory_bytes: that, or what its graph is seen to take, whichever is more.
    """

    about: Mapping[str, Any]
    session: Any
    memory_bytes: int

    @property
    def moving(self) -> bool:
        """Whether the model belongs to the moving frame."""
        return _is_moving(self.about)

    def forecast(self, past: Float32Array) -> SceneForecast:
        """Return the forecast of a past (1, t, 1 + k, h, w) as a `Forecaster` takes it."""
        motion = estimate_motion(past[0, :, 0])[np.newaxis] if self.moving else None
        return self.forecast_along(past, motion)

    def forecast_along(self, past: Float32Array, motion: Float32Array | None) -> SceneForecast:
        """Return the forecast of a past whose motion (1, 2, hc, wc) is known; None in the fixed
        frame.
        """
        from onnxruntime import RunOptions

        options = RunOptions()
        given = {PAST: past} if motion is None else {PAST: past, MOTION: motion}
        run, stop = (
            partial(self.session.run, None, given, options),
            partial(setattr, options, "terminate", True),
        )
        rates, *probabilities = _interruptible(run, stop)
        return SceneForecast(
            rates[0, :, 0],
            FileProbabilities(tuple(self.about["thresholds"]), probabilities[0][0])
            if probabilities
            else None,
        )


def seal(model: bytes, about: Mapping[str, Any]) -> bytes:
    """The content of a file: an ONNX model, and what it was made from."""
    import onnx

    entry = onnx.StringStringEntryProto(key=_ABOUT, value=json.dumps({"schema": SCHEMA, **about}))
    content: bytes = model + onnx.ModelProto(metadata_props=[entry]).SerializeToString()
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


def read_exported(path: str | Path) -> ExportedForecaster:
    """Errors: MissingInputError if it is missing or no file; InputOutputError if a disk fails;
    DataError if it is too large; as open_exported.
    """
    try:
        if not Path(path).is_file():  # a pipe would be waited for
            raise MissingInputError(f"{path}: no such model.")
        if Path(path).stat().st_size > _LARGEST:
            raise DataError(
                f"{path}: larger than any model that 'nowcast export' writes; give another file."
            )
        content = Path(path).read_bytes()
    except OSError as error:
        refuse_fault_of_machine(path, error)
        raise MissingInputError(
            f"{path}: no such model, or none that can be read ({error.strerror})."
        ) from error
    return open_exported(content, path)


def open_exported(content: bytes, path: str | Path) -> ExportedForecaster:
    """The model in the content of a file, ready to forecast, its checksum verified before anything
    of it is used.

    Errors: MissingLibraryError without ONNX Runtime; DataError where it is damaged, foreign, or of
    a newer schema.
    """
    body, seal, digest = (
        content[: -_DIGEST - len(_SEAL)],
        content[-_DIGEST - len(_SEAL) : -_DIGEST],
        content[-_DIGEST:],
    )
    if seal != _SEAL:
        raise DataError(
            f"{path}: no model that 'nowcast export' wrote, or cut short; export it again."
        )
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise DataError(f"{path}: damaged (its checksum is another); export it again.")
    if _EXTERNAL.search(body):
        raise DataError(
            f"{path}: names other files, which 'nowcast export' never does; export it again."
        )
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when it is imported
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        raise MissingLibraryError(
            f"{path}: needs {error.name}: {install_command('export')}."
        ) from error
    options = onnxruntime.SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    # 0: one a core; as of PyTorch
    options.intra_op_num_threads = int(threads) if threads.isdigit() else 0
    # its failures are raised; what it warns of is of no use to a forecaster
    options.log_severity_level = 4
    open_session = partial(
        onnxruntime.InferenceSession,
        content,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["ConstantFolding"],  # it would compute parts of the graph here
    )
    try:
        peak = peak_memory(content)
        session = _interruptible(open_session, partial(options.set_load_cancellation_flag, True))
        about = json.loads(session.get_modelmeta().custom_metadata_map[_ABOUT])
        is_newer = about["schema"] > SCHEMA
        fits = is_newer or _fits(session, about)
    except GraphError as error:
        raise DataError(
            f"{path}: no graph that 'nowcast export' writes: {error}; export it again, or update"
            " nowcast."
        ) from error
    except Exception as error:  # ONNX Runtime's own are of many kinds, with no other parent
        raise DataError(
            f"{path}: ONNX Runtime cannot use it ({str(error).splitlines()[0]}); export it again."
        ) from error
    if is_newer:
        raise DataError(
            f"{path}: written by a newer nowcast (schema {about['schema']}, here {SCHEMA}); update"
            " nowcast."
        )
    if not fits:
        raise DataError(f"{path}: its graph is not what it says of it; export it again.")
    return ExportedForecaster(about, session, max(about["memory_bytes"], peak))


def _interruptible(work: Callable[[], Result], stop: Callable[[], None]) -> Result:
    """What `work` gives, computed in a thread, since a signal is heard only once the main
    thread runs Python. An error that is raised meanwhile, as by a signal or a deadline, calls
    `stop` and waits for the work to end.
    """
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            return running.result()
        finally:
            stop()


def _fits(session: Any, about: Mapping[str, Any]) -> bool:
    """Whether the graph takes and gives what `about` says.

    Errors: KeyError, TypeError, ValueError where that says too little.
    """
    config, size, thresholds = about["config"], about["grid_size"], about.get("thresholds") or []
    inputs = {one.name: one.shape for one in session.get_inputs()}
    past, leads = inputs.pop(PAST), config["lead_steps"]
    motion = {MOTION: [1, 2, *coarse_size(*size)]} if _is_moving(about) else {}
    takes = [*past[:2], *past[3:]] == [1, config["input_steps"], *size] and inputs == motion
    wanted = [(RATES, [1, leads, 1, *size])]
    if thresholds:
        wanted.append((PROBABILITIES, [1, leads, len(thresholds), *size]))
    gives = [(one.name, one.shape) for one in session.get_outputs()] == wanted
    rising = all(
        0 < low < high < math.inf for low, high in pairwise([*thresholds, sys.float_info.max])
    )
    described = {"model", "timestep_minutes"} <= config.keys() and {
        "versions",
        "exported_from_sha256",
    } <= about.keys()
    whole = all(
        type(number) is int
        for number in (config["input_steps"], config["lead_steps"], *size, about["memory_bytes"])
    )
    return takes and gives and rising and described and whole and about["memory_bytes"] > 0


def _is_moving(about: Mapping[str, Any]) -> bool:
    """Whether a model belongs to the moving frame; files of schema 1 do not say."""
    return bool(about["config"]["model"].get("frame") == "moving")
