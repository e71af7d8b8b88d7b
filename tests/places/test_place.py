"""Places as a user names them, and what is refused with its line."""

import doctest
import os
from importlib import import_module
from pathlib import Path

import pytest

from nowcast.errors import ConfigError, DataError, MissingInputError
from nowcast.places.place import Place, parse_place, read_places


def written(folder: Path, text: str) -> Path:
    path = folder / "places.csv"
    path.write_bytes(text.encode())
    return path


def test_columns_stand_in_any_order_and_a_radius_may_be_left_out(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '\ufeffRadius,longitude,name,latitude\r\n5,13.4,Berlin,52.5\r\n\r\n,-60,"A, B",-3.5\r\n',
    )
    assert read_places(path) == [
        Place("Berlin", 52.5, 13.4, 5.0),
        Place("A, B", -3.5, -60.0, None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no place"),
        ("name,latitude,longitude\n", "holds no place"),
        ("name;latitude;longitude\nA;1;2\n", "separated by commas"),
        ("Berlin,52.5,13.4\n", "line 1: the first line must name the columns"),
        ("name,latitude,longitude,radius_km\n", "line 1: the first line must name"),
        ("name,latitude,longitude\nA,1,2\n\nB;3;4\n", "line 4: has 1 cells, not 3"),
        ("name,latitude,longitude\nA,north,2\n", "line 2: the latitude 'north' is no number"),
        ("name,latitude,longitude\nA,nan,2\n", "line 2: the latitude 'nan' is no number"),
        ("name,latitude,longitude\nA,91,2\n", "line 2: the latitude must be from -90 to 90"),
        ("name,latitude,longitude\n,1,2\n", "line 2: has no name"),
        ("name,latitude,longitude\nA,1,2\nA,1,3\n", "line 3: 'A' is the name of line 2 too"),
        ("name,latitude,longitude,radius\nA,1,2,0\n", "line 2: the radius must be above 0"),
        ('name,latitude,longitude\n"A,1,2\n', "line 2: is no CSV"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_places(written(tmp_path, text))
    assert "places.csv" in str(error.value)


def test_only_the_end_of_a_line_ends_it(tmp_path: Path) -> None:
    text = "name,latitude,longitude\rA\x0bB,1,2\rC\u2028D,3,4\r"
    names = [one.name for one in read_places(written(tmp_path, text))]
    assert names == ["A\x0bB", "C\u2028D"]


def test_a_file_that_is_absent_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="none.csv"):
        read_places(tmp_path / "none.csv")
    with pytest.raises(MissingInputError, match="give a CSV file"):
        read_places(written(tmp_path, "") / "below.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="a named pipe"):
        read_places(tmp_path / "pipe.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_places(tmp_path / "binary.csv")


@pytest.mark.parametrize("given", ["52.5,13.4", " 52.5, 13.4", [52.5, 13.4], ["52.5", 13.4]])
def test_one_place_is_text_or_a_list(given: object) -> None:
    assert parse_place("place", given) == Place("52.5, 13.4", 52.5, 13.4)


@pytest.mark.parametrize(
    "given", ["52.5", "a,b", [1], [1, 2, 3], [True, 2], [10**400, 1], 5, {"a": 1}, "nan,1"]
)
def test_what_is_no_place_names_its_key(given: object) -> None:
    with pytest.raises(ConfigError, match=r"^place: "):
        parse_place("place", given)


def test_a_latitude_out_of_range_says_which_comes_first() -> None:
    with pytest.raises(ConfigError, match="latitude, then longitude"):
        parse_place("place", "113.4,52.5")


@pytest.mark.parametrize("name", ["answers", "curve", "pixels", "place", "words"])
def test_the_examples_run(name: str) -> None:
    module = import_module(f"nowcast.places.{name}")
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
