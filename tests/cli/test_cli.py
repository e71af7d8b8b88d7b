"""The command line as a person meets it: help, errors of one line with their exit codes,
Hydra's habits, sweeps.
"""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import SPLITS, TINY, Outcome

import nowcast
from nowcast.cli.help import complete_override

Run = Callable[..., Outcome]
COMMANDS = ("train", "predict", "evaluate", "describe", "fetch")


def test_help_lists_the_commands(run: Run) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    assert all(f"\n  {command}" in outcome.out for command in COMMANDS)


def test_no_command_shows_the_help_and_is_a_usage_error(run: Run) -> None:
    outcome = run()
    assert outcome.code == 2
    assert "Commands:" in outcome.out


def test_version(run: Run) -> None:
    assert run("--version").out == f"nowcast {nowcast.__version__}\n"


@pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
def test_help_of_a_command_shows_config_groups_and_examples(run: Run, command: str) -> None:
    outcome = run(command, "--help")
    assert outcome.code == 0
    assert (
        "data=radar|radolan|synthetic"
        if command == "predict"
        else "data=moving_mnist|radar|radolan|synthetic"
    ) in outcome.out
    assert f"  nowcast {command} " in outcome.out
    if command == "predict":  # which needs no checkpoint
        assert (
            outcome.out.split("Examples:")[1]
            .split("\n")[1]
            .endswith("predict 'data.path=/radar/*.nc'")
        )


def test_help_of_describe_shows_models_and_how_to_put_two_side_by_side(run: Run) -> None:
    outcome = run("describe", "--help")
    assert outcome.code == 0
    assert (
        "  model=any_grid|encoder_forecaster|" in outcome.out
        and "  model@other=any_grid|encoder_forecaster|" in outcome.out
    )
    assert "--json" in outcome.out and "  nowcast describe model=" in outcome.out


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'xarray', 'numpy', 'hydra', 'omegaconf', 'netCDF4', 'matplotlib', 'pandas'}"
    code = (
        f"import sys, nowcast.cli; loaded = {heavy} & set(sys.modules); sys.exit(str(loaded) if"
        " loaded else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["trian"], 2, "No such command 'trian'"),
        (["train", "--bogus"], 2, "unrecognized arguments: --bogus"),
        (["train", "word"], 2, "word: "),
        (["predict", "+max_agee=5", "checkpoint=a.pt"], 78, "max_agee: no such key or group; leave it out"),
        (["predict", "+operation=five_minutes", "checkpoint=a.pt"], 78, "operation: no such key or group"),
        (["predict", "deadline=1e30", "data.path=a.nc", "checkpoint=a.pt"], 78, "deadline: must be at most 1e+07"),
        (["train", "loss=a b=c"], 2, "'key=\"value\"' with both quotes"),
        (["train", "data.path=a b=c"], 66, "a b=c: no such file or folder"),
        (["prepare", "data=moving_mnist", "output=s"], 78, "data: moving_mnist has neither times nor a place"),
        (["prepare", "data.path=a.nc", "output=s", "crop=5"], 78, "takes a list; give it as crop=[a,b].\n"),
        (["predict", "warnings.rules=[1]"], 78, "warnings.rules: takes names with values; give it as 'warnings.rules={a: b}'.\n"),
        (["evaluate", "forecasts={a: x.nc, a: y.nc}"], 78, "forecasts: names a twice; give each a name of its own.\n"),
        (["evaluate", "checkpoint={a: 'x: 1, b: 2', b: y.pt}", "--check"], 66, "checkpoint: x: 1, b: 2: no such file"),
        (["predict", "warnings.rules=5"], 78, "warnings.rules: takes names with values"),
        (["predict", "warnings=5"], 78, "warnings: takes names with values"),
        (["predict", "accumulations={}"], 78, "accumulations: takes a list"),
        (["predict", "log_file=[a]"], 78, "log_file: takes one text; give it as log_file=a.\n"),
        (["predict", "data.path=x.nc", "checkpoint=[]"], 78, "checkpoint: give a path, several as [a, b]"),
        (["predict", "page={}"], 78, "page: takes one text"),
        (["point", "a.nc", "place=51.2,10.3,5"], 78, "place: give latitude and longitude in degrees, as place=52.5,13.4, not [51.2, 10.3, 5].\n"),
        (["point", "a.nc", "place="], 78, "as place=52.5,13.4, not nothing.\n"),
        (["predict", "data.path=a.nc", "place=north,east"], 78, "place: give latitude and longitude"),
        (["prepare", "data.path=a.nc", "output=s", "crop=[nan,1,2,3]"], 78, "crop: give west, south"),
        (["prepare", "data.path=a.nc", "output=s", "crop=[8,50,5,53]"], 78, "or [170, -10, -170, 10] across the date line"),
        (["train", "model.hidden_channels=[1"], 2, "model.hidden_channels=[1: "),
        (["train", "--resolve"], 2, "--resolve"),
        (["train", "output=a\udcff"], 2, "is not UTF-8"),
        (["train", "input_steps=1000000000"], 78, "input_steps: must be from 1 to 10000"),
        (["predict", "model=persistence", "data.path=a", "input_steps=1000000000", "lead_steps=3"], 78, "input_steps: must be from 1 to 10000"),
        (["describe", "lead_steps=1000000000"], 78, "lead_steps: must be from 1 to 10000"),
        (["fetch", "moon"], 2, "no sample 'moon'"),
        (["train", "modle=small"], 78, "modle: no such key; the nearest is model"),
        (["train", "model.patchsize=3"], 78, "model.patchsize: no such key; the nearest is patch_size"),
        (["train", "+model.patchsize=3"], 78, "model.patchsize: no such key"),
        (["train", "~model.patch_size"], 78, "model.patch_size: "),
        (["train", "model.patch_size=two"], 78, "model.patch_size: must be a whole number, not 'two'"),
        (["train", "model.patch_size=0"], 78, "model.patch_size: must be at least 1"),
        (["train", "model.kernel_size=4"], 78, "model.kernel_size: must be an odd number"),
        (["train", "model=nope"], 78, "model=nope: no such model; there are any_grid, "),
        (["train", "model.name=next_frame"], 78, "model.name: 'next_frame' is not the model of these keys"),
        (["train", "model=encoder_forecaster_strided", "model.strides=[2]"], 78, "model.strides: give a number above 0 for each of 3"),
        (["train", "model=encoder_forecaster_strided", "model.conv_kernel_sizes=[8,5,3]"], 78, "at a stride of 5 must be 3 to 7, not 8"),
        (["train", "model=fc_lstm", "model.grid_size=[64]"], 78, "model.grid_size: give height and width"),
        (["train", "model=next_frame", "model.kernel_sizes=[4,3,1]"], 78, "model.kernel_sizes: must be an odd number"),
        (["train", "training.scheduled_sampling=[1,0]"], 78, "training.scheduled_sampling: encoder_forecaster does not feed frames back"),
        (["train", "model=next_frame", "model.frame=moving", "model.head=probability"], 78, "model.head: next_frame feeds its forecasts back"),
        (["train", "model.thresholds=[0.5,2]"], 78, "model.thresholds: are for probabilities, but model.head=rate gives none; leave it out"),
        (["train", "model=next_frame", "model.thresholds=[1]"], 78, "model.thresholds: are for probabilities"),
        (["describe", "model=moving", "model.head=rate", "model.thresholds=[1]"], 78, "model.thresholds: are for probabilities"),
        (["train", "model=moving", "model.thresholds=[1e-46,0.5]"], 78, "model.thresholds: give rates from 0.001 to 10000 mm/h"),
        (["train", "model=moving", "model.thresholds=[0.5,1e39]"], 78, "model.thresholds: give rates from 0.001 to 10000 mm/h"),
        (["train", "model=next_frame", "training.scheduled_sampling=[2,0]"], 78, "training.scheduled_sampling: give the share"),
        (["train", "training.gradient_clip=0"], 78, "training.gradient_clip: must be above 0"),
        (["train", "model=small,encoder_forecaster"], 78, "need -m for a sweep"),
        (["train", "loss=hinge"], 78, "loss: 'hinge' is not one of"),
        (["train", "loss=cross_entropy"], 78, "loss: cross_entropy needs probabilities"),
        (["train", "thresholds=[2,1]"], 78, "thresholds: "),
        (["train", "optimizer.lr=nan"], 78, "optimizer.lr: must be above 0"),
        (["train", "data=radar"], 78, "data.path: needs a value"),
        (["train", "data=radar", "data.path=x.nc"], 78, "data.train: training needs these days"),
        (["train", "data.validation=[2018-05-15,2018-05-16]"], 78, "data.train (2018-05-10T00:00 to"),
        (["train", "data.train=[soon,later]"], 78, "data.train: 'soon' is not a time"),
        (["train", "-cn", "nope"], 78, "Cannot find primary config 'nope'"),
        (["train", "--config-dir", "/no/such"], 78, "'/no/such' not found"),
        (["train", "data=moving_mnist"], 78, "scaling: "),
        (["train", "sampling.windows_per_epoch=null"], 78, "sampling.windows_per_epoch: "),
        (["train", "data.path=nowhere.nc"], 66, "nowhere.nc: no such file or folder"),
        (["predict", "data.path=x.nc"], 66, "x.nc: no such file or folder"),
        (["predict", "checkpoint=none.pt", "data.path=x.nc"], 66, "none.pt: no such checkpoint"),
        (["train", "device=tpu"], 78, "device: 'tpu' is not one of auto, cpu, cuda"),
        (["train", "device=cuda:99", "output=out"], 69, "device: 'cuda:99' was requested, but PyTorch sees"),
        (["describe", "model=nope"], 78, "model=nope: no such model; there are any_grid, "),
        (["describe", "grid_size=[100]"], 78, "grid_size: give height and width"),
        (["describe", "batch_size=0"], 78, "batch_size: must be at least 1"),
        (["describe", "model=fc_lstm", "model.grid_size=[8,8]"], 78, "fc_lstm does not fit grid_size=[100, 100]"),
        (["describe", "grid_size=[10000000000,10000000000]"], 78, "encoder_forecaster: too large"),
        (["describe", "other.kernel_size=5"], 78, "model@other=…"),
        (["describe", "--jsno"], 2, "unrecognized arguments: --jsno"),
        (["evaluate", "baseline=sprog"], 78, "checkpoint: give a trained model to score"),
        (["train", "data=radr"], 78, "data=radr: no such data; there are moving_mnist, radar, radolan, synthetic.\n"),
        (["train", "experiment=mine"], 78, "experiment=mine: no such experiment; there are demo, finetune,"),
        (["describe", "model@beside=small"], 78, "model@beside: no such key or group; the nearest is model@other; '--cfg"),
        (["evaluate", "forecasts=none/*.nc", "data=radolan"], 66, "none/*.nc: no forecast files found"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_that_names_the_cause_and_has_its_exit_code(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(*words)
    assert outcome.code == code
    assert outcome.err.startswith("nowcast: ")
    assert outcome.err.count("\n") == 1
    assert says in outcome.err


@pytest.mark.parametrize("words", [["train", "data.path=nowhere.nc", "output=/dev/null/x"]])
def test_an_output_that_cannot_be_made_is_exit_73(run: Run, words: list[str]) -> None:
    outcome = run(*words)
    assert (outcome.code, outcome.err.count("\n")) == (73, 1)


def test_debug_shows_the_traceback(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOWCAST_DEBUG", "1")
    outcome = run("train", "loss=hinge")
    assert "Traceback" in outcome.err and outcome.err.splitlines()[-1].startswith("nowcast: loss: ")


def test_cfg_shows_the_composed_configuration(run: Run) -> None:
    outcome = run(
        "train", "--cfg", "job", "--resolve", "model=small", "optimizer.lr=0.5", "+note=mine"
    )
    assert outcome.code == 0
    assert (
        "hidden_channels:\n  - 32\n" in outcome.out
        and "lr: 0.5\n" in outcome.out
        and "note: mine\n" in outcome.out
    )


def test_a_users_own_folder_of_configs_and_experiments(run: Run, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 17\n")
    (tmp_path / "winter.yaml").write_text("defaults: [train, _self_]\nlead_steps: 18\n")
    outcome = run(
        "train", "--config-dir", str(tmp_path), "-cn", "winter", "experiment=mine", "--cfg", "job"
    )
    assert outcome.code == 0
    assert "seed: 17\n" in outcome.out and "lead_steps: 18\n" in outcome.out


def test_broken_yaml_of_a_user_is_a_config_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [1\nb: {")
    outcome = run("train", "--config-dir", str(tmp_path), "-cn", "broken")
    assert (outcome.code, outcome.err.count("\n")) == (78, 1)
    assert "broken.yaml" in outcome.err


def test_completion_offers_groups_and_keys() -> None:
    class Context:
        info_name = "train"

    assert complete_override(Context(), "model=encoder") == [
        "model=encoder_forecaster",
        "model=encoder_forecaster_strided",
    ]
    assert {"model=fc_lstm", "model=next_frame", "model=small"} < set(
        complete_override(Context(), "model=")
    )
    assert "seed=" in complete_override(Context(), "se")


def test_completion_of_describe_offers_models_for_both_places() -> None:
    class Context:
        info_name = "describe"

    assert "model=small" in complete_override(Context(), "model=")
    assert "model@other=small" in complete_override(Context(), "model@")
    assert complete_override(Context(), "grid") == ["grid_size="]


def test_in_a_sweep_one_failing_job_stops_no_other_and_the_table_ranks_them(
    run: Run, radar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["data=radar", f"data.path={radar_file}", *SPLITS]
    outcome = run(
        "train", "-m", *TINY, *data, "training.epochs=1", "model.kernel_size=4,1,3", "output=sweep"
    )
    assert outcome.code == 78
    assert "job 0" in outcome.err and "model.kernel_size: must be an odd number" in outcome.err
    with (tmp_path / "sweep/leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores = {
        row["model.kernel_size"]: json.loads(
            (tmp_path / "sweep" / row["folder"] / "summary.json").read_text()
        )["score"]
        for row in rows[:2]
    }
    assert scores == {row["model.kernel_size"]: float(row["score"]) for row in rows[:2]}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert [(row["model.kernel_size"], row["state"]) for row in rows[2:]] == [("4", "failed")]
    assert not (tmp_path / "sweep" / rows[2]["folder"] / "summary.json").exists()


def test_one_line_trains_all_six_rows_of_the_papers_table(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as the digits, which are not there."""
    monkeypatch.chdir(tmp_path)
    outcome = run(
        "train",
        "-m",
        "experiment=moving_mnist_paper",
        "model=glob(paper_*)",
        "data.path=none.gz",
        "output=table",
    )
    assert outcome.code == 66
    rows = [
        "fc_lstm_2048_2048",
        "5x5_5x5_256",
        "5x5_5x5_128_128",
        "5x5_5x5_128_64_64",
        "9x9_1x1_128_128",
        "9x9_1x1_128_64_64",
    ]
    assert all(f" model=paper_{row} " in outcome.err for row in rows)
    assert outcome.err.count("none.gz: no such file") == 6


@pytest.mark.parametrize(
    ("redirected", "code"), [("", 65), ("| true", 74), (">&-", 65), ("2>&-", 65)]
)
def test_streams_that_cannot_take_everything_are_no_fault_of_nowcast(
    tmp_path: Path, redirected: str, code: int
) -> None:
    (tmp_path / "ü.nc").touch()
    command = f"{sys.executable} -m nowcast inspect ü.nc {redirected}; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "fault" not in done.stdout + done.stderr
    assert done.returncode == code
    if not redirected:
        assert "\\xfc.nc: cannot be read" in done.stdout


def test_python_m_nowcast_is_the_same() -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "nowcast", "--version"], capture_output=True, text=True, check=True
    )
    assert outcome.stdout == f"nowcast {nowcast.__version__}\n"
