"""Exported models: ONNX files computed by ONNX Runtime, which loads much faster than PyTorch.

The file is an ordinary ONNX model with an input `past` (1, t, 1 + k, h, w) and an output `rates`
(1, lead, 1, h, w), in mm/h, NaN = not covered. A model of the moving frame has a second input,
`motion` (1, 2, hc, wc) as estimated by `nowcast.motion`. A model of probabilities has a second
output, `probabilities` (1, lead, k, h, w). The metadata key `nowcast` describes the checkpoint it
was made from, as JSON. The last metadata entry is the SHA-256 of all bytes before it, so that one
flipped bit is noticed before the file is used. It reveals damage, not who wrote the file; therefore
`graphs.py` checks what the graph would do.
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
"""Increased whenever an older program could no longer read a new file."""

_ABOUT = "nowcast"
_SEAL = b"\x72\x52\x0a\x0enowcast_sha256\x12\x40"
"""The start of the checksum entry, encoded by Protocol Buffers: field 14 of a model is metadata, 82
bytes long, with a key of 14 and a value of 64 bytes. Concatenated messages are one message, so a
field can be appended to a file.
"""
_DIGEST = 64  # hexadecimal digits
_LARGEST = 2**31  # bytes; Protocol Buffers allow no more
_EXTERNAL = re.compile(rb"[\x00\x08]location")
"""The key with which a tensor refers to another file for its numbers; its length comes before it,
in any encoding.
"""


@dataclass(frozen=True)
class ExportedForecaster:
    """An exported model.

    about: config, place and versions of its checkpoint; exported_from_sha256, the checksum of the
    checkpoint; schema; grid_size, pixels of its frames; memory_bytes, about what a forecast takes;
    thresholds in mm/h, if it gives probabilities.
    memory_bytes: that number, or the memory computed from the graph if larger.
    """

    about: Mapping[str, Any]
    session: Any
    memory_bytes: int

    @property
    def moving(self) -> bool:
        """Whether the model belongs to the moving frame."""
        return _is_moving(self.about)

    def forecast(self, past: Float32Array) -> SceneForecast:
        """Return the forecast of a past (1, t, 1 + k, h, w), as a `Forecaster` takes it."""
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
    """Return the content of a file: an ONNX model, and a description of its checkpoint."""
    import onnx

    entry = onnx.StringStringEntryProto(key=_ABOUT, value=json.dumps({"schema": SCHEMA, **about}))
    content: bytes = model + onnx.ModelProto(metadata_props=[entry]).SerializeToString()
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


def read_exported(path: str | Path) -> ExportedForecaster:
    """Read an exported model.

    Errors: MissingInputError if it is missing or not a file; InputOutputError if a disk fails;
    DataError if it is too large; as `open_exported`.
    """
    try:
        if not Path(path).is_file():  # reading a pipe would block
            raise MissingInputError(f"{path}: no such model.")
        if Path(path).stat().st_size > _LARGEST:
            raise DataError(
                f"{path}: larger than any model that 'nowcast export' writes; give another file."
            )
        content = Path(path).read_bytes()
    except OSError as error:
        refuse_fault_of_machine(path, error)
        raise MissingInputError(
            f"{path}: no such model, or it cannot be read ({error.strerror})."
        ) from error
    return open_exported(content, path)


def open_exported(content: bytes, path: str | Path) -> ExportedForecaster:
    """Return the model in the content of a file, ready to forecast. Its checksum is verified before
    anything of it is used.

    Errors: MissingLibraryError without ONNX Runtime; DataError if it is damaged, not written by
    nowcast, or of a newer schema.
    """
    body, seal, digest = (
        content[: -_DIGEST - len(_SEAL)],
        content[-_DIGEST - len(_SEAL) : -_DIGEST],
        content[-_DIGEST:],
    )
    if seal != _SEAL:
        raise DataError(f"{path}: not written by 'nowcast export', or cut short; export it again.")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise DataError(f"{path}: damaged (its checksum does not match); export it again.")
    if _EXTERNAL.search(body):
        raise DataError(
            f"{path}: refers to other files, which 'nowcast export' never does; export it again."
        )
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read on import
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        raise MissingLibraryError(
            f"{path}: needs {error.name}: {install_command('export')}."
        ) from error
    options = onnxruntime.SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    # 0 means one per core, as in PyTorch
    options.intra_op_num_threads = int(threads) if threads.isdigit() else 0
    # its failures are raised; its warnings are of no use to a forecaster
    options.log_severity_level = 4
    open_session = partial(
        onnxruntime.InferenceSession,
        content,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["ConstantFolding"],  # it would run parts of the graph right here
    )
    try:
        peak = peak_memory(content)
        session = _interruptible(open_session, partial(options.set_load_cancellation_flag, True))
        about = json.loads(session.get_modelmeta().custom_metadata_map[_ABOUT])
        is_newer = about["schema"] > SCHEMA
        fits = is_newer or _fits(session, about)
    except GraphError as error:
        raise DataError(
            f"{path}: not a graph that 'nowcast export' writes: {error}; export it again, or update"
            " nowcast."
        ) from error
    except Exception as error:  # ONNX Runtime raises many kinds without a common base class
        raise DataError(
            f"{path}: ONNX Runtime cannot use it ({str(error).splitlines()[0]}); export it again."
        ) from error
    if is_newer:
        raise DataError(
            f"{path}: written by a newer nowcast (schema {about['schema']}, here {SCHEMA}); update"
            " nowcast."
        )
    if not fits:
        raise DataError(f"{path}: its graph does not match its metadata; export it again.")
    return ExportedForecaster(about, session, max(about["memory_bytes"], peak))


def _interruptible(work: Callable[[], Result], stop: Callable[[], None]) -> Result:
    """Return the result of `work`, run in a thread because Python handles a signal only while the
    main thread runs Python code. An error raised meanwhile, as by a signal or a deadline, calls
    `stop` and waits for the work to end.
    """
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            return running.result()
        finally:
            stop()


def _fits(session: Any, about: Mapping[str, Any]) -> bool:
    """Whether the graph has the inputs and outputs that `about` describes.

    Errors: KeyError, TypeError, ValueError if `about` is incomplete.
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
