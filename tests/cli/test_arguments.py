"""Hydra's options may stand anywhere on the command line, with their values; Hydra itself wants
its overrides in one piece.
"""

from collections.abc import Callable

import pytest
from helpers import Outcome

from nowcast.cli.arguments import in_one_piece, predict_words, split_arguments


@pytest.mark.parametrize(
    ("words", "sorted_words"),
    [
        ("a=1 -m b=1,2", "a=1 b=1,2 -m"),
        ("-m a=1 b=1,2", "a=1 b=1,2 -m"),
        ("a=1 --cfg job b=2", "a=1 b=2 --cfg job"),
        ("--config-dir x=1 a=1 -cn model=x b=2", "a=1 b=2 --config-dir x=1 -cn model=x"),
        (
            "--config-n winter a=1 --config-dir=there b=2",
            "a=1 b=2 --config-n winter --config-dir=there",
        ),
        ("a=1 --info b=2", "a=1 b=2 --info"),
        ("a=1 --info defaults ~b", "a=1 ~b --info defaults"),
        ("+a=1 ~b ++c=-1", "+a=1 ~b ++c=-1"),
        ("", ""),
    ],
)
def test_options_come_last_with_their_values(words: str, sorted_words: str) -> None:
    assert in_one_piece(words.split()) == sorted_words.split()
    assert in_one_piece(sorted_words.split()) == sorted_words.split()


def test_what_is_renamed_for_predict_is_no_value_of_an_option() -> None:
    words = predict_words(
        [
            "model=zero",
            "--config-dir",
            "model=x",
            "-m",
            "from=a",
            "to=b",
            "--cfg",
            "job",
            "seed=1,2",
        ],
        watch=True,
    )
    assert words == [
        "baseline=zero",
        "period=[a,b]",
        "seed=1,2",
        "watch=true",
        "--config-dir",
        "model=x",
        "-m",
        "--cfg",
        "job",
    ]


def test_a_value_of_an_option_is_no_path() -> None:
    assert split_arguments(["a.nc", "--cfg", "job", "b.nc", "k=1", "-cd", "there"]) == (
        ["a.nc", "b.nc"],
        ["k=1", "--cfg", "job", "-cd", "there"],
    )


def test_hydra_takes_overrides_on_both_sides_of_an_option(run: Callable[..., Outcome]) -> None:
    outcome = run(
        "predict", "model=persistence", "--cfg", "job", "input_steps=2", "--resolve", "lead_steps=3"
    )
    assert outcome.code == 0, outcome.err
    assert {"baseline: persistence", "input_steps: 2", "lead_steps: 3"} <= set(
        outcome.out.splitlines()
    )
    outcome = run("train", "model=small", "--cfg", "job", "input_steps=7")
    assert (outcome.code, "input_steps: 7" in outcome.out.splitlines()) == (0, True), outcome.err
