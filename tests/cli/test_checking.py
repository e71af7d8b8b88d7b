"""`--check` says whether a configuration is right and does nothing; `--keys` and `--help` tell
what there is to set.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import Outcome

from nowcast.api.settings import configured
from nowcast.cli.help import GROUPS, group_options
from nowcast.cli.keys import comments
from nowcast.cli.paths import quote_paths
from nowcast.config.evaluate import EvaluateConfig
from nowcast.pretrained import PRETRAINED, path_of

Run = Callable[..., Outcome]
COMMANDS = (*GROUPS, "fetch")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "archive").mkdir()
    for name in ("best.pt", "a.nc", "archive/rain_20200101.nc"):
        (tmp_path / name).touch()
    return tmp_path


RIGHT = [
    ["train", "data.path=a.nc"],
    ["train", "-m", "data.path=a.nc", "seed=1,2,3", "hydra.launcher.x=1", "output=sweep"],
    ["predict", "checkpoint=best.pt", "data.path=archive/rain_%Y%m%d.nc", "--watch"],
    ["evaluate", "checkpoint=best.pt", "data=radar", "data.path=a.nc"],
    ["evaluate", "data=radar", "data.path=a.nc"],
    ["evaluate", "data=radar", "data.path=a.nc", "input_steps=3", "lead_steps=4"],
    ["evaluate", "counts=archive/*.nc"],
    ["prepare", "data.path=archive", "output=store", "grid=a.nc"],
    ["export", "checkpoint=best.pt", "grid_size=[24,28]"],
    ["describe"],
    ["plot", "a.nc"],
    ["point", "a.nc", "place=52.5,13.4"],
    ["inspect", "archive/*.nc"],
]


@pytest.mark.parametrize("words", RIGHT, ids=" ".join)
def test_a_right_configuration_is_told_and_nothing_is_done(
    run: Run, here: Path, words: list[str]
) -> None:
    before = sorted(here.rglob("*"))
    outcome = run(*words, "--check")
    assert (outcome.code, outcome.out) == (0, "configuration is valid\n"), outcome.err
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["train", "data.path=none.nc"], 66, "none.nc: no such file"),
        (["train", "data.path=a.nc", "loss=hinge"], 78, "loss: 'hinge'"),
        (["train", "-m", "data.path=a.nc", "model.kernel_size=3,4"], 78, "model.kernel_size: must be an odd number"),
        (["train", "data.path=a.nc", "+inputs.fields.z={path: z.nc, variable: z}"], 66, "inputs.fields.z.path: z.nc"),
        (["predict", "checkpoint=none.pt", "data.path=a.nc"], 66, "checkpoint: none.pt"),
        (["predict", "checkpoint=best.pt", "data.path=%Y/none_%m%d.nc"], 66, "no file matches"),
        (["predict", "checkpoint=best.pt", "data.path=a.nc", "+x=1"], 78, "x: no such key"),
        (["evaluate", "forecasts=none/*.nc", "data=radar", "data.path=a.nc"], 66, "forecasts: none/*.nc"),
        (["evaluate", "baseline=zero", "data=radar", "data.path=a.nc"], 78, "to score only baselines give input_steps"),
        (["evaluate", "input_steps=3", "data=radar", "data.path=a.nc"], 78, "to score only baselines give input_steps"),
        (["evaluate", "data=moving_mnist"], 78, "baselines without a model need radar data"),
        (["evaluate", "checkpoint={ours: none.pt}", "data=radar", "data.path=a.nc"], 66, "checkpoint: none.pt"),
        (["evaluate", "checkpoint=best.pt", "data=radar", "data.path=a.nc", "mask=m.nc", "mask_variable=m"], 66, "mask: m.nc"),
        (["prepare", "data.path=archive", "output=store", "grid=none.nc"], 66, "grid: none.nc"),
        (["plot", "none.nc"], 66, "none.nc: no such file"),
        (["inspect", "nowhere"], 66, "nowhere: no such file"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_as_without_it(
    run: Run, here: Path, words: list[str], code: int, says: str
) -> None:
    before = sorted(here.rglob("*"))
    outcome = run(*words, "--check")
    assert outcome.code == code, outcome.err
    assert says in outcome.err and "configuration is valid" not in outcome.out
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("command", GROUPS)
def test_every_key_of_every_command_is_explained(run: Run, command: str) -> None:
    options = {
        group: [
            one for one in group_options(group, command) if one != "small" and "paper_" not in one
        ]
        for group in GROUPS[command]
    }
    options.pop("experiment", None)
    for k in range(max(map(len, options.values()), default=1)):
        words = [f"{group}={known[k % len(known)]}" for group, known in options.items()]
        lines = run(command, "--keys", *words).out.splitlines()
        keys = [number for number, line in enumerate(lines) if not line.startswith(" ")]
        assert keys
        assert not [
            lines[k] for k in keys if not lines[k + 1 :][:1] or not lines[k + 1].startswith("    ")
        ], words
        assert max(map(len, lines)) <= 80


def test_a_key_is_shown_with_its_type_value_and_comment(run: Run) -> None:
    out = run("train", "--keys", "model=next_frame", "training.epochs=7").out
    assert "\ntraining.epochs=7  (whole number)\n    most epochs\n" in out
    assert (
        "\nmodel.kernel_sizes=[5, 3, 1]  (list of whole numbers)\n    kernel size of each ConvLSTM, odd\n"
        in out
    )
    assert (
        "\nsampling.crop=96  (whole number or null)\n    height and width of a random crop in"
        " pixels; null: the whole grid\n" in out
    )
    assert "\nthresholds=[0.5, 1, 2, 5, 10, 30]  (list of numbers)\n" in out
    assert "data.path=…, required  (text)\n" in run("predict", "--keys").out
    assert "\nother=null  (group or null)\n" in run("describe", "--keys").out


def test_comments_belong_to_the_key_of_their_line_and_go_on_below_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "# of the file\na: 1   # one\n       # and more\nb:\n  c: '#fff'  # two\n  d:\n    e: 3  #"
        " three\n  f: 4\ng: 5  # five\n"
    )
    assert comments(tmp_path / "a.yaml") == {
        "a": "one and more",
        "b.c": "two",
        "b.d.e": "three",
        "g": "five",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_breaks_no_name(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for columns in ("80", "60"):
        monkeypatch.setenv("COLUMNS", columns)
        out = run(command, "--help").out
        assert max(map(len, out.splitlines())) <= 80
        assert not [line for line in out.splitlines() if line.rstrip().endswith("-")]
        names = ["--folder"] if command == "fetch" else ["--keys", "--check", "--hydra-help"]
        names += (
            ["--config-dir"]
            if command in ("train", "predict", "evaluate", "export", "describe", "prepare")
            else []
        )
        names += [
            option for group in GROUPS.get(command, ()) for option in group_options(group, command)
        ]
        assert not [name for name in names if name not in out]


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("data.path=a,b/x.nc", 'data.path="a,b/x.nc"'),
        ("data.path=a (b)/x=1.nc", 'data.path="a (b)/x=1.nc"'),
        ("output=für/%Y.nc", 'output="für/%Y.nc"'),
        ("places=a,b.csv", 'places="a,b.csv"'),
        ("warnings.file=a,b/%H.jsonl", 'warnings.file="a,b/%H.jsonl"'),
        ('data.path=a",b', "data.path='a\",b'"),
        ("data.path='a,b'", "data.path='a,b'"),
        ("data.path=a\\,b", "data.path=a\\,b"),
        ("data.path=${oc.env:A},b", "data.path=${oc.env:A},b"),
        ("checkpoint=null", "checkpoint=null"),
        ("max_age=15,30", "max_age=15,30"),
        ("model=small,next_frame", "model=small,next_frame"),
    ],
)  # fmt: skip
def test_a_path_is_taken_as_it_stands(word: str, quoted: str) -> None:
    assert quote_paths([word]) == [quoted]
    if "," in word and "(" not in word and '"' not in word:
        assert quote_paths(["-m", word]) == [word, "-m"]  # there it is a sweep


def test_a_folder_with_a_comma_is_looked_into(run: Run, here: Path) -> None:
    os.mkdir(here / "a,b")
    outcome = run(
        "predict",
        "model=persistence",
        "input_steps=2",
        "lead_steps=2",
        "data.path=a,b/x.nc",
        "output=f,g.nc",
    )
    assert (outcome.code, "a,b/x.nc: no such file or folder" in outcome.err) == (
        66,
        True,
    ), outcome.err
    outcome = run("predict", "max_age=15,30", "data.path=x.nc", "model=persistence")
    assert (outcome.code, "both quotes for one text, 'key=\"a,b\"'" in outcome.err) == (
        78,
        True,
    ), outcome.err


def test_an_error_of_the_sweeper_itself_is_told(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def sweep(self, arguments: list[str]) -> None:
            raise RuntimeError("no such study")

    monkeypatch.setattr(
        "hydra.core.plugins.Plugins.instantiate_sweeper", lambda *given, **named: Broken()
    )
    outcome = run("train", "-m", "seed=1,2", "data.path=a.nc", "output=sweep")
    assert (outcome.code, outcome.err.count("\n")) == (70, 1)
    assert "no such study" in outcome.err and "see the lines above" not in outcome.err


def test_without_a_checkpoint_or_a_baseline_the_model_that_comes_with_nowcast_is_scored() -> None:
    def scored(**given: Any) -> Any:
        return configured("evaluate", EvaluateConfig, set(), {}, "the grid", **given)

    assert scored().checkpoint == str(path_of(PRETRAINED))
    assert scored(input_steps=3, lead_steps=4).checkpoint is None
    assert scored(forecasts="a.nc").checkpoint is None
