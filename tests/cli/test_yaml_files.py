"""YAML of a stranger is refused where it would become more than a configuration is, in one line
that names file and line.
"""

import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from helpers import Outcome

from nowcast.cli.yaml_files import MOST_NODES, check_yaml
from nowcast.config.effects import configs_folder
from nowcast.errors import ConfigError

Run = Callable[..., Outcome]
TENFOLD = "a0: &a0 [" + ",".join("x" * 10) + "]\n" + "".join(
    f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 9)
)  # fmt: skip
MERGED = "a0: &a0 {k: 1}\n" + "".join(
    f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}\n" for k in range(1, 40)
)

HOSTILE = {
    "aliases that become 10^9 values": (TENFOLD, "more than 10000 values"),
    "merges that become 2^39 values": (MERGED, "more than 10000 values"),
    "a list that holds itself": ("retry: &a [*a]\n", "line 1: \\*a refers to itself"),
    "a mapping that holds itself": ("retry: &a {b: *a}\n", "refers to itself"),
    "brackets": ("retry: " + "[" * 5000 + "]" * 5000, "more than 40 levels of nesting"),
    "indented brackets": (
        "".join(" " * k + "- \n" for k in range(100)),
        "more than 40 levels of nesting",
    ),
    "an integer": ("retry: 1" + "0" * 400, "line 1: a number of more than 30 digits"),
    "an integer to base 60": ("retry: 1" + ":59" * 200, "a number of more than 30 digits"),
    "an integer by its tag": (
        "retry: !!int '" + "9" * 9000 + "'",
        "a number of more than 30 digits",
    ),
    "a set": ("retry: !!set {a, b}", "the tag 'tag:yaml.org,2002:set'"),
    "an object": ("retry: !!python/object/apply:os.mkdir [marker]", "the tag "),
    "Latin-1": (b"# plain\n# f\xfcr den Winter\nretry: 5\n", "line 2 is not UTF-8"),
    "UTF-16": ("retry: 5".encode("utf-16"), "line 1 is not UTF-8"),
    "a byte order mark": ("\ufeffretry: 5", "byte order mark"),
    "a control character": ("retry: \x01", "not valid YAML"),
    "an escaped NUL": ('output: "a\\0.nc"', "line 1: a text with"),
    "a lone surrogate": ('output: "\\uD800.nc"', "line 1: a text with"),
    "a number": ("# plain\n5\n", "line 2: no keys with values"),
    "a bracket left open": ("a: [1\nb: {", "not valid YAML .*line 2"),
    "a file too large": ("# " + "x" * 2**18, "larger than 262144 bytes"),
}


@pytest.mark.parametrize(("content", "says"), HOSTILE.values(), ids=HOSTILE)
def test_what_no_configuration_needs_is_refused_at_once(
    content: str | bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.monotonic()
    with pytest.raises(ConfigError, match=f"mine\\.yaml.*{says}"):
        check_yaml(path)
    assert time.monotonic() - start < 5


def test_a_pipe_is_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="not a regular file"):
        check_yaml(tmp_path / "pipe.yaml")


def test_what_a_person_writes_is_let_through(tmp_path: Path) -> None:
    """Aliases too, whose copies are counted: 1 mapping, 3 keys, 100 + 100 values in 2 lists,
    and one alias of 101.
    """
    numbers = ", ".join(["1"] * 100)
    (tmp_path / "mine.yaml").write_text(
        f"a: &a [{numbers}]\nb: *a\nc: !!str 5\nsha: '{'7' * 64}'\nlong: {'ab' * 40}\n"
    )
    check_yaml(tmp_path / "mine.yaml")
    for path in configs_folder().rglob("*.yaml"):
        check_yaml(path)
    values = ["- 1\n"] * (MOST_NODES - 2)
    (tmp_path / "most.yaml").write_text("".join(values))
    check_yaml(tmp_path / "most.yaml")
    (tmp_path / "most.yaml").write_text("".join([*values, "- 1\n", "- 1\n"]))
    with pytest.raises(ConfigError):
        check_yaml(tmp_path / "most.yaml")


@pytest.fixture
def predict(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """`nowcast predict` with a stranger's mine/operation/five.yaml, in a folder with a file
    that is dear.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "operation").mkdir(parents=True)
    (tmp_path / "precious.txt").write_text("precious\n")
    (tmp_path / "config.yaml").write_text("precious: true\n")

    def predict_by(text: str, *words: str) -> Outcome:
        (tmp_path / "mine/operation/five.yaml").write_text("# @package _global_\n" + text)
        outcome = run(
            "predict",
            "checkpoint=x.pt",
            "data.path=x.nc",
            "--config-dir",
            "mine",
            "+operation=five",
            *words,
        )
        assert (tmp_path / "precious.txt").read_text() == "precious\n"
        assert (tmp_path / "config.yaml").read_text() == "precious: true\n"
        assert sorted(os.listdir(tmp_path)) == ["config.yaml", "mine", "precious.txt"]
        return outcome

    return predict_by


WRITING = {
    "a handler that empties a file": (
        "job_logging: {handlers: {x: {class: logging.FileHandler, filename: precious.txt, mode:"
        " w}}}"
    ),
    "the same of Hydra's own log": (
        "hydra_logging: {handlers: {x: {class: logging.FileHandler, filename: precious.txt, mode:"
        " w}}}"
    ),
    "a handler that moves a file": (
        "job_logging: {handlers: {x: {class: logging.handlers.RotatingFileHandler, filename:"
        " precious.txt}}}"
    ),
    "a handler that sends": (
        "job_logging: {handlers: {x: {class: logging.handlers.SysLogHandler, address: [127.0.0.1,"
        " 9]}}}"
    ),
    "copies over config.yaml": "{run: {dir: .}, output_subdir: .}",
    "copies elsewhere": "output_subdir: ../mine",
}


@pytest.mark.parametrize("text", WRITING.values(), ids=WRITING)
def test_a_section_of_hydra_writes_into_no_file_of_the_user(
    predict: Callable[..., Outcome], text: str
) -> None:
    outcome = predict(f"hydra: {text}\n" if text.startswith("{") else f"hydra:\n  {text}\n")
    assert (outcome.code, outcome.err.count("\n")) == (78, 1), outcome.err
    assert outcome.err.startswith("nowcast: hydra.")


def test_interpolations_of_interpolations_are_bounded(predict: Callable[..., Outcome]) -> None:
    """Each of five keys holds the next forty times: 40^5 copies."""
    keys = ["at", "status", "metrics", "log_file", "latest", "output"]
    text = "".join(f"{one}: '{f'${{{other}}}' * 40}'\n" for one, other in pairwise(keys))
    outcome = predict(text)
    assert (outcome.code, outcome.err.count("\n")) == (78, 1), outcome.err


def test_defaults_lists_that_branch_without_end_are_refused(
    predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    for k in range(20):
        (tmp_path / f"mine/operation/b{k}.yaml").write_text(
            f"defaults:\n  - b{k + 1}@x\n  - b{k + 1}@y\n"
        )
    (tmp_path / "mine/operation/b20.yaml").write_text("v: 1\n")
    outcome = predict("defaults: [b0]\n")
    assert (outcome.code, "the defaults lists name more than 1000 files" in outcome.err) == (
        78,
        True,
    ), outcome.err


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        # in a circle, or of too many files: the depth of the stack decides
        ("defaults: [five]\n", [], "defaults lists"),
        ("retrry: 5\n", [], "operation/five: retrry: no such key; the nearest is retry"),
        ("keep_hours: two days\n", [], "operation/five: keep_hours: must be a number, not 'two days'"),
        ("keep_files: 1.5\n", [], "operation/five: keep_files: must be a whole number, not '1.5'"),
        ("keep_files: 99999999999999999999\n", [], "keep_files: this number is too large"),
        ("", ["retry=" + "9" * 400], "configuration: int too large"),
        ("", ["retry=" + "[" * 3000 + "]" * 3000], "configuration: its defaults lists, brackets"),
    ],
)  # fmt: skip
def test_what_goes_round_or_too_far_is_a_fault_of_the_configuration(
    predict: Callable[..., Outcome], text: str, words: list[str], says: str
) -> None:
    outcome = predict(text, *words)
    assert (outcome.code, outcome.err.count("\n"), says in outcome.err) == (
        78,
        1,
        True,
    ), outcome.err


def test_a_plain_configuration_of_a_user_still_composes(predict: Callable[..., Outcome]) -> None:
    outcome = predict("retry: 5\n")
    assert (outcome.code, "x.pt: no such checkpoint" in outcome.err) == (66, True), outcome.err


def test_a_group_of_ones_own_without_a_plus_says_how_to_add_it(
    run: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "operation").mkdir()
    (tmp_path / "operation/five.yaml").write_text("# @package _global_\nretry: 5\n")
    outcome = run("predict", "--config-dir", str(tmp_path), "operation=five")
    assert outcome.code == 78
    assert "operation: no group of this command; for a group of your own write +op" in outcome.err
