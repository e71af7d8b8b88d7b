"""Names and texts of strangers on a terminal, in a line of errors and in logs."""

import logging

import h5py
import numpy as np
import pytest

from nowcast.cli.process import _Record
from nowcast.console import console, printable, printable_lines, two_digits
from nowcast.explain import say

EVIL = "\x1b]0;title\x07\x1b[31mred\x9b1m\u202egnp.exe\nnowcast: forged\r"
SHOWN = r"\x1b]0;title\x07\x1b[31mred\x9b1m\u202egnp.exe\x0anowcast: forged\x0d"


def test_control_characters_and_those_that_turn_the_text_are_written_out():
    assert printable(EVIL) == SHOWN
    assert printable_lines("a\nb\x1b") == "a\nb\\x1b"
    assert printable("Zürich 雨 – 5 mm/h") == "Zürich 雨 – 5 mm/h"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0499, "0.05"), (0.998, "1"), (8.33, "8.3"), (99.7, "100"), (1041.0, "1000")],
)
def test_a_short_number_is_never_a_power_of_ten(number, text):
    assert two_digits(number) == text


def test_an_error_is_one_line(capsys):
    say(ValueError(), EVIL)
    assert capsys.readouterr().err == f"nowcast: {SHOWN}\n"


def test_a_line_of_a_log_is_one_line():
    record = _Record("a", logging.INFO, "a.py", 1, "%s", (EVIL,), None)
    assert record.getMessage() == printable(" ".join(EVIL.split()))
    assert not {"\x1b", "\n", "\u202e"} & set(record.getMessage())


def test_a_table_shows_no_control_character(capsys):
    from rich.table import Table

    table = Table("name")
    table.add_row(EVIL)
    console().print(table, EVIL)
    assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(capsys.readouterr().out)


def test_inspect_shows_names_and_texts_of_files_in_one_line_each(tmp_path, run):
    with h5py.File(tmp_path / "k.h5", "w") as file:
        image = file.create_group("image1")
        image.attrs["image_geo_parameter"] = np.bytes_(b"\x1b[31mRAIN_[MM]")
        image["image_data"] = np.zeros((2, 2), "u1")
        image.create_group("calibration").attrs["calibration_formulas"] = np.bytes_(
            b"GEO=0.01*PV+0.0"
        )
        overview = file.create_group("overview")
        overview.attrs["product_datetime_start"] = np.bytes_(b"26-AUG-2010;00:00:00.000")
        overview.attrs["product_datetime_end"] = np.bytes_(b"26-AUG-2010;00:05:00.000")
    (tmp_path / "a\x1b[31m\nnowcast: forged.nc").write_bytes(b"x")
    outcome = run("inspect", str(tmp_path))
    assert outcome.code == 65 and "RAIN" in outcome.out
    assert "\x1b" not in outcome.out + outcome.err
    assert not [
        line
        for line in (outcome.out + outcome.err).splitlines()
        if line.startswith("nowcast: forged")
    ]


def test_a_log_file_that_is_a_pipe_is_not_waited_for(tmp_path):
    import os

    from nowcast.errors import CannotCreateError
    from nowcast.service.log_lines import log_lines

    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(CannotCreateError, match="pipe: cannot be written"),
        log_lines("text", str(tmp_path / "pipe")),
    ):
        pass
