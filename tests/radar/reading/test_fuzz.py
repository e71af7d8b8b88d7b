"""Hundreds of damaged files of every format raise only our own errors: never a crash, a hang or a
grid that is silently wrong.

NOWCAST_FUZZ=2000 in the environment makes 2000 mutants per format, including large real files.
"""

import os

import pytest
from mutants import outcomes
from originals import WRITERS, of

from nowcast.errors import DataError
from nowcast.radar import open_grid

MUTANTS = int(os.environ.get("NOWCAST_FUZZ", "0"))
NEEDS = {"zarr": "zarr", "grib": "eccodes", "geotiff": "rasterio"}


@pytest.mark.parametrize("form", WRITERS)
def test_of_a_damaged_file_comes_the_grid_it_was_or_our_error(form, tmp_path):
    if form in NEEDS:
        pytest.importorskip(NEEDS[form])
    found = outcomes(form, MUTANTS or 40, tmp_path, every=MUTANTS > 0)
    trouble = [one for one in found if one["is"] == "trouble"]
    assert not trouble, "\n".join(map(str, trouble))
    # else the mutants would test nothing
    assert {one["is"] for one in found} == {"opened", "refused"}


def test_zeros_among_the_texts_of_hdf5_are_refused_and_not_read_for_ever(tmp_path):
    """A heap of texts is read object by object, and a block of zeros, as a write that was cut
    short leaves it, has no end.
    """
    path = of("odim", tmp_path, every=False)[-1][0][0]
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 64] = bytes(48)
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=f"damaged at byte {heap + 16}, perhaps by an interrupted copy"
    ):
        open_grid(path)
