"""Checkpoints: whole or not there, plain values only, and refused in one line where they are
not what they should be.
"""

import errno
import hashlib
import math
import os
import pickle
import platform
import shutil
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import SPLITS, TINY
from torch import Tensor

import nowcast
from nowcast.errors import CannotCreateError, DataError, InputOutputError, MissingInputError
from nowcast.files import sha256
from nowcast.probability.calibration import uncalibrated
from nowcast.sequences.scaling import Scaling
from nowcast.training import checkpoints, migrations
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint
from nowcast.training.provenance import versions
from nowcast.training.signals import stop_request

VALUES = torch.arange(1000.0)


@pytest.fixture
def path(tmp_path):
    """A small checkpoint."""
    write_checkpoint(tmp_path / "last.pt", {"weights": {"a": VALUES}, "config": {"seed": 3}})
    return tmp_path / "last.pt"


@pytest.fixture
def trained(tmp_path, build_trainer, showers):
    """The checkpoint of a run of one epoch, as read."""
    with stop_request() as stop:
        build_trainer(tmp_path, epochs=1).fit(showers(), showers(), stop)
    return read_checkpoint(tmp_path / "last.pt")


def leaves(value):
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def test_what_was_written_is_read(path) -> None:
    read = read_checkpoint(path)
    assert read.keys() == {"schema", "weights", "config"}
    assert (read["schema"], read["config"]) == (checkpoints.SCHEMA, {"seed": 3})
    assert torch.equal(read["weights"]["a"], VALUES)


def test_a_checkpoint_holds_all_that_a_run_needs_to_go_on(trained) -> None:
    assert trained.keys() == {
        "schema", "versions", "config", "place", "region", "packages", "data", "written", "best_epoch", "start", "weights",
        "ema", "optimizer", "schedule", "gradient_scaler", "rng", "progress", "calibration",
    }  # fmt: skip
    assert trained["versions"] == versions()
    assert {
        "nowcast": nowcast.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }.items() <= versions().items()
    assert Scaling(**trained["config"]["scaling"]) == Scaling("linear", 10.0, 1.0)
    assert {f"module.{name}" for name in trained["weights"]} | {"n_averaged"} == trained[
        "ema"
    ].keys()
    # 8 windows, 2 a batch
    assert trained["ema"]["n_averaged"] == trained["schedule"]["last_epoch"] == 4
    assert len(trained["optimizer"]["state"]) == len(trained["weights"])
    assert trained["rng"].dtype == torch.uint8
    assert trained["progress"].keys() == {"epoch", "step", "loss_sum", "history"}


def test_a_checkpoint_holds_tensors_and_plain_values_alone(trained) -> None:
    assert {type(value) for value in leaves(trained)} <= {Tensor, str, int, float, bool, type(None)}


def test_the_average_of_the_weights_is_not_the_weights(trained) -> None:
    assert any(
        not torch.equal(value, trained["ema"][f"module.{name}"])
        for name, value in trained["weights"].items()
    )


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("something else")]
)
def test_a_save_that_fails_midway_leaves_the_old_checkpoint_and_nothing_else(
    path, monkeypatch, error
) -> None:
    def fail(checkpoint, temporary):
        temporary.write_bytes(b"half of it")
        raise error

    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(InputOutputError if isinstance(error, OSError) else ValueError):
        write_checkpoint(path, {"weights": {}})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["last.pt"]


def test_a_value_that_cannot_be_saved_leaves_the_old_checkpoint(path) -> None:
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_checkpoint(path, {"weights": lambda: None})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["last.pt"]


def test_a_folder_that_cannot_be_made_is_named(path) -> None:
    with pytest.raises(CannotCreateError, match=r"last\.pt"):
        write_checkpoint(path / "below_a_file" / "best.pt", {})


def test_a_missing_checkpoint_is_named(tmp_path) -> None:
    with pytest.raises(MissingInputError, match=r"nowhere\.pt: no such checkpoint"):
        read_checkpoint(tmp_path / "nowhere.pt")


class Hostile:
    """Unpickled, it would make a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_code_in_a_checkpoint_is_never_run(path, tmp_path) -> None:
    marker = tmp_path / "marker"
    write_checkpoint(path, {"weights": Hostile(marker)})
    for sort in (path, older(tmp_path / "older.pt", {"weights": Hostile(marker)})):
        with pytest.raises(DataError, match="more than weights and plain values"):
            read_checkpoint(sort)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # it would have been


def test_a_bare_pickle_is_never_run(tmp_path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "best.pt").write_bytes(pickle.dumps({"schema": 1, "weights": Hostile(marker)}))
    with pytest.raises(DataError):
        read_checkpoint(tmp_path / "best.pt")
    assert not marker.exists()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_a_checkpoint_cut_short_is_refused(path, share) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"last\.pt"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", np.random.default_rng(0).bytes(5000)]
)
def test_garbage_is_refused(path, content) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"last\.pt"):
        read_checkpoint(path)


def test_another_zip_file_is_refused(path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no weights")
    with pytest.raises(DataError, match=r"last\.pt"):
        read_checkpoint(path)


def test_a_disk_that_fails_is_no_damage_of_the_checkpoint(path, monkeypatch) -> None:
    def fail(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpoints.torch, "load", fail)
    with pytest.raises(
        InputOutputError, match=r"last.pt: cannot be read now \(Input/output error\)"
    ):
        read_checkpoint(path)


@pytest.mark.parametrize("other", [[1, 2], {"weights": {}}, torch.zeros(3)])
def test_what_another_program_saved_is_refused(path, other) -> None:
    torch.save(other, path)
    with pytest.raises(DataError, match="not a checkpoint of nowcast"):
        read_checkpoint(path)


def older(path, checkpoint=None):
    """The same checkpoint as schema 2 had it: without a digest."""
    torch.save({**(checkpoint or read_checkpoint(path)), "schema": 2}, path)
    return path


def refused(path, match=r"last\.pt: "):
    with pytest.raises(DataError, match=match) as caught:
        read_checkpoint(path)
    assert not isinstance(caught.value, MissingInputError)


def test_the_comment_of_the_archive_is_the_digest_of_all_before_it(path) -> None:
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        comment = archive.comment
    assert (
        comment
        == b"nowcast sha256 " + hashlib.sha256(content[: -len(comment)]).hexdigest().encode()
    )
    assert content.endswith(comment)
    # any PyTorch reads it
    assert torch.equal(torch.load(path, weights_only=True)["weights"]["a"], VALUES)


def test_one_flipped_bit_anywhere_is_noticed(tmp_path) -> None:
    path = tmp_path / "last.pt"
    write_checkpoint(path, {"weights": {"a": VALUES[:3]}})
    content = path.read_bytes()
    bits = np.random.default_rng(0).integers(8, size=len(content))
    with open(path, "r+b", buffering=0) as file:
        for place, bit in enumerate(bits.tolist()):
            os.pwrite(file.fileno(), bytes([content[place] ^ 1 << bit]), place)
            refused(path)
            os.pwrite(file.fileno(), content[place : place + 1], place)
    assert torch.equal(read_checkpoint(path)["weights"]["a"], VALUES[:3])


def test_every_bit_of_the_comment_and_of_the_record_before_it_is_noticed(path) -> None:
    content = path.read_bytes()
    for bit in range(8 * (len(content) - 110), 8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with open(path, "r+b") as file:
            file.write(damaged)
        refused(path)


def test_a_digest_cut_off_does_not_make_it_an_older_checkpoint(path) -> None:
    content = path.read_bytes()
    without = bytearray(content[:-79])
    without[-2:] = b"\0\0"
    path.write_bytes(without)
    assert zipfile.ZipFile(path).testzip() is None
    refused(path, "damaged .*its checksum is missing")


def test_what_follows_the_digest_or_is_repeated_is_no_checkpoint(path) -> None:
    content = path.read_bytes()
    for damaged in (content + b"\0", content + content, b"\0" + content, content[:-79] + content):
        path.write_bytes(damaged)
        refused(path)


def test_every_length_short_of_the_whole_is_refused(tmp_path) -> None:
    path = tmp_path / "last.pt"
    write_checkpoint(path, {"weights": {}})
    size = path.stat().st_size
    for length in [*range(size - 1, size - 250, -1), *range(size - 250, -1, -7)]:
        os.truncate(path, length)
        refused(path)


def test_a_checkpoint_of_an_older_schema_is_read_and_its_checksums_hold(path) -> None:
    assert torch.equal(read_checkpoint(older(path))["weights"]["a"], VALUES)
    content = bytearray(path.read_bytes())
    content[content.index(VALUES.numpy().tobytes()) + 1234] ^= 1
    path.write_bytes(content)
    refused(path, "damaged")


@pytest.mark.parametrize("offset", [10, 38])  # how it is compressed; whether it is a folder
def test_an_index_entry_of_an_older_one_that_no_checksum_covers_is_checked(path, offset) -> None:
    content = bytearray(older(path).read_bytes())
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/data/0")).encode()
    entry = content.rindex(name) - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + offset] ^= 8 if offset == 10 else 16
    path.write_bytes(content)
    refused(path)


def test_an_older_one_with_a_flipped_bit_in_its_index_is_refused_or_unharmed(path) -> None:
    content = older(path).read_bytes()
    for bit in range(8 * content.index(b"PK\x01\x02"), 8 * len(content), 29):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert torch.equal(read_checkpoint(path)["weights"]["a"], VALUES)
        except DataError:
            continue


def test_an_archive_that_swells_is_refused_before_it_is_unpacked(path, monkeypatch) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if not name.endswith("/data/0") else bytes(2**24))
    assert path.stat().st_size < 2**16
    monkeypatch.setattr(zipfile.ZipFile, "open", None)  # would fail if it were called
    monkeypatch.setattr(torch, "load", None)
    refused(path, "which would be uncompressed")


def test_members_that_share_their_bytes_are_refused(path) -> None:
    """Each says that it holds all of the file, as a bomb of overlapping members does."""
    content = bytearray(older(path).read_bytes())
    entry = content.index(b"PK\x01\x02")
    while content[entry : entry + 4] == b"PK\x01\x02":
        content[entry + 20 : entry + 28] = struct.pack("<II", len(content), len(content))
        entry += 46 + sum(struct.unpack_from("<HHH", content, entry + 28))
    path.write_bytes(content)
    refused(path, "which would be uncompressed|cut short")


def test_a_pickle_that_makes_no_sense_is_refused(path) -> None:
    """Whatever PyTorch raises of it."""
    for pickled in (
        b"",
        b".",
        b"(.",
        b"\x80\x02}.",
        b"\x80\x02]q\x00h\x05.",
        b"\x80\x02X\x02\0\0\0\xff\xff.",
        b"I1\nL0x\n",
        b"R",
        b"]" * 10**5 + b".",
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", pickled)
            archive.writestr("a/version", "3\n")
        refused(path)


def test_a_checkpoint_of_a_newer_schema_asks_for_an_update(path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "SCHEMA", checkpoints.SCHEMA + 1)
    write_checkpoint(path, {"weights": {}})
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"newer nowcast .*update nowcast"):
        read_checkpoint(path)


def test_a_checkpoint_is_read_wherever_it_was_moved(path, tmp_path) -> None:
    shutil.move(path, tmp_path / "renamed.ckpt")
    assert torch.equal(read_checkpoint(str(tmp_path / "renamed.ckpt"))["weights"]["a"], VALUES)


OLD = [
    Path(__file__).with_name(f"written_by_{name}.pt") for name in ("schema_1", "schema_2", "0.1.0")
]
"""last.pt as each schema that landed had it: two epochs on the rain of the fixture `radar_file`,
with two hidden channels.
"""
each_landed = pytest.mark.parametrize("old", OLD, ids=lambda path: path.stem)


def test_a_checkpoint_of_an_earlier_schema_is_migrated_step_by_step(path, monkeypatch) -> None:
    """Through a schema that is made up, from each that landed."""

    def halve(checkpoint):
        weights = {name: value / 2 for name, value in checkpoint["weights"].items()}
        return {**checkpoint, "weights": weights, "unit": "half"}

    before = [read_checkpoint(old) for old in OLD]
    monkeypatch.setattr(checkpoints, "SCHEMA", checkpoints.SCHEMA + 1)
    with pytest.raises(DataError, match="not a valid checkpoint of schema 3, which it names"):
        read_checkpoint(OLD[-1])
    monkeypatch.setitem(migrations.MIGRATIONS, checkpoints.SCHEMA - 1, halve)
    for old, was in zip(OLD, before, strict=True):
        now = read_checkpoint(old)
        assert now["unit"] == "half" and now["schema"] == was["schema"]
        assert all(
            torch.equal(now["weights"][key] * 2, was["weights"][key]) for key in was["weights"]
        )
    write_checkpoint(path, {"weights": {"a": VALUES}})
    assert torch.equal(read_checkpoint(path)["weights"]["a"], VALUES), "of that schema itself"


def test_there_is_a_migration_from_every_schema() -> None:
    assert set(migrations.MIGRATIONS) == set(range(1, checkpoints.SCHEMA))


def test_schema_1_is_what_the_same_training_left_as_schema_2() -> None:
    """Both were trained on the same windows from the same weights; all moments of the optimizer
    belong to the parameters that they belonged to.
    """
    first, second = read_checkpoint(OLD[0]), read_checkpoint(OLD[1])
    for part in ("weights", "ema"):
        assert first[part].keys() == second[part].keys()
        for name, values in second[part].items():
            torch.testing.assert_close(first[part][name], values, rtol=1e-3, atol=1e-5)
    for place, about in second["optimizer"]["state"].items():
        for key, values in about.items():
            torch.testing.assert_close(
                first["optimizer"]["state"][place][key], values, rtol=1e-2, atol=1e-4
            )


@pytest.mark.parametrize(
    "changes", [{"schema": 0}, {"schema": -1}, {"schema": 1, "ema": 3}], ids=str
)
def test_what_is_no_checkpoint_of_its_schema_is_refused(path, changes) -> None:
    torch.save({**torch.load(OLD[0], weights_only=True), **changes}, path)
    refused(path, rf"not a valid checkpoint of schema {changes['schema']}, which it names")


@each_landed
def test_a_checkpoint_of_a_landed_version_forecasts(
    old, run, radar_file, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(
        "predict",
        f"checkpoint={old}",
        "data=radar",
        f"data.path={radar_file}",
        "output=forecast.nc",
        "device=cpu",
    )
    assert outcome.code == 0, outcome.err
    with xr.open_dataset("forecast.nc", engine="netcdf4") as forecast:
        assert forecast["precipitation_rate"].shape == (4, 34, 41)
        assert forecast.attrs["checkpoint_sha256"] == sha256(old)


@each_landed
@pytest.mark.usefixtures("without_pictures")
def test_a_training_of_a_landed_version_goes_on(
    old, run, radar_file, tmp_path, monkeypatch
) -> None:
    """Though it knows neither its best epoch nor keys that came later."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    shutil.copy(old, "run/last.pt")
    shutil.copy(radar_file, "rain.nc")
    words = [
        "train",
        *TINY,
        *SPLITS,
        "model.hidden_channels=[2]",
        "data=radar",
        "data.path=rain.nc",
        "output=run",
    ]
    # the default that the two had, for rain that is no reflectivity
    words += [] if "0.1.0" in old.name else ["data.zr=[200.0,1.6]"]
    outcome = run(*words, "training.epochs=3")
    assert outcome.code == 0, outcome.err
    assert "resuming with other settings: training.epochs 2 → 3\n" in outcome.err
    assert read_checkpoint("run/last.pt")["progress"]["epoch"] == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"lead_steps": -1}, {"lead_steps": 0}, {"lead_steps": True}, {"input_steps": "3"}, {"input_steps": 3.5}, {"timestep_minutes": math.nan},
        {"timestep_minutes": 0}, {"timestep_minutes": -5.0}, {"timestep_minutes": "5"}, {"timestep_minutes": 1e300}, {"timestep_minutes": 1e-9},
        {"input_steps": 10**9}, {"lead_steps": 10**9}, {"data": 5}, {"model": None}, {"inputs": []}, {"scaling": "dbz"},
    ],
)  # fmt: skip
def test_what_no_model_has_is_refused_when_it_is_read(changed, tmp_path):
    path = tmp_path / "best.pt"
    write_checkpoint(
        path, {"config": {"input_steps": 5, "lead_steps": 12, "timestep_minutes": 5.0, **changed}}
    )
    with pytest.raises(DataError, match=rf"best\.pt: has {next(iter(changed))}="):
        read_checkpoint(path)


@pytest.mark.parametrize("config", [None, [], "text"])
def test_a_checkpoint_without_a_configuration_is_refused(config, tmp_path):
    write_checkpoint(tmp_path / "best.pt", {"config": config})
    with pytest.raises(DataError, match=r"best\.pt: contains no model configuration"):
        read_checkpoint(tmp_path / "best.pt")


PLACE = {
    "crs": {"standard_parallel": [60.0]},
    "pixel": [-1000.0, 1000.0],
    "unit": "m",
    "ground": None,
    "first_row": "north",
}


@pytest.mark.parametrize(
    "place",
    [
        5, [], {}, {**PLACE, "crs": 5}, {**PLACE, "crs": {"standard_parallel": {}}}, {**PLACE, "pixel": [1000.0]}, {**PLACE, "pixel": "ab"},
        {**PLACE, "pixel": [math.nan, 1000.0]}, {**PLACE, "ground": 3}, {**PLACE, "first_row": 1}, {**PLACE, "unit": []},
    ],
)  # fmt: skip
def test_a_place_that_no_grid_has_is_refused_when_it_is_read(place, tmp_path):
    path, about = (
        tmp_path / "best.pt",
        {"config": {"input_steps": 5, "lead_steps": 12, "timestep_minutes": 5.0}},
    )
    write_checkpoint(path, {**about, "place": PLACE})
    assert read_checkpoint(path)["place"] == PLACE
    write_checkpoint(path, {**about, "place": place})
    with pytest.raises(DataError, match=r"best\.pt: its description of the training grid"):
        read_checkpoint(path)


CALIBRATED = uncalibrated((0.5, 2.0), 3).state()
PROBABLE = {"input_steps": 5, "lead_steps": 3, "model": {"thresholds": [0.5, 2]}}


@pytest.mark.parametrize(
    "changed",
    [
        {"slopes": torch.ones(2, 3)}, {"offsets": torch.zeros(2)}, {"cuts": torch.ones(4, 2)},
        {"cuts": [[0.5, 0.5]] * 3}, {"slopes": torch.full((3, 2), math.nan)}, {"thresholds": [0.5]},
        {"thresholds": [0.5, 5.0]}, {"thresholds": None},
    ],
)  # fmt: skip
def test_a_calibration_of_another_model_is_refused_when_it_is_read(changed, tmp_path):
    path = tmp_path / "best.pt"
    write_checkpoint(path, {"config": PROBABLE, "calibration": CALIBRATED})
    assert read_checkpoint(path)["calibration"].keys() == CALIBRATED.keys()
    write_checkpoint(path, {"config": PROBABLE, "calibration": {**CALIBRATED, **changed}})
    with pytest.raises(DataError, match=r"best\.pt: its calibration is not for its model \(.+\); "):
        read_checkpoint(path)


@pytest.mark.parametrize("calibration", [5, [], {}, {"thresholds": [0.5, 2]}])
def test_what_is_no_calibration_is_refused_when_it_is_read(calibration, tmp_path):
    path = tmp_path / "best.pt"
    write_checkpoint(path, {"config": PROBABLE, "calibration": calibration})
    with pytest.raises(DataError, match=r"best\.pt: its calibration is not for its model"):
        read_checkpoint(path)
