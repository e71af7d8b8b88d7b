"""A stored array is indexed as the array it was saved from, whether it is mapped whole or piece
by piece.
"""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from nowcast.sequences import stored
from nowcast.sequences.stored import StoredArray

ARRAY = np.random.default_rng(0).random((50, 30, 41), dtype=np.float32)


@pytest.fixture(params=["whole", "pieces"])
def path(request, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "_MAP_WHOLE_BYTES", 0 if request.param == "pieces" else 2**30)
    np.save(tmp_path / "a.npy", ARRAY)
    return tmp_path / "a.npy"


@pytest.mark.parametrize(
    "key",
    [
        0, -1, np.int64(7), slice(None), slice(3, 9), slice(45, 99), slice(9, 3), slice(2, 40, 7), slice(8, 2, -2), [4, 1, 49],
        np.array([], int), np.arange(50) % 3 == 0, (slice(3, 9), slice(2, 5), slice(1, 41, 3)), (5, slice(2), 3), (slice(None), 5, 7),
        (np.array([2, 2]), slice(1, 3)), (slice(0, 0), slice(2)),
    ],
)  # fmt: skip
def test_indexing_is_that_of_the_array(path, key):
    found = StoredArray(path)[key]
    assert np.array_equal(found, ARRAY[key])
    assert np.asarray(found).dtype == np.float32
    assert np.shape(found) == ARRAY[key].shape


@pytest.mark.parametrize("place", [50, -51])
def test_a_place_that_is_not_there_is_an_index_error(path, place):
    with pytest.raises(IndexError):
        StoredArray(path)[place]


def test_it_is_an_array_to_numpy_and_passes_to_another_process_as_its_path(path):
    array = StoredArray(path)
    assert (array.shape, array.dtype, len(array), array.nbytes) == (
        ARRAY.shape,
        ARRAY.dtype,
        50,
        ARRAY.nbytes,
    )
    assert np.array_equal(array, ARRAY)
    sent = pickle.dumps(array)
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent)[4:6], ARRAY[4:6])


def test_what_was_read_outlives_the_array(path):
    array = StoredArray(path)
    part = array[3:5, 1]
    del array
    assert np.array_equal(part, ARRAY[3:5, 1])


@pytest.mark.parametrize(
    "content", [b"", b"no array at all, but some text", "short", "long", "columns first"]
)
def test_a_file_that_is_no_such_array_is_refused(tmp_path, content):
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(ARRAY) if content == "columns first" else ARRAY)
    whole = path.read_bytes()
    path.write_bytes(
        {"short": whole[:-1], "long": whole + b"x", "columns first": whole}.get(content, content)
    )
    with pytest.raises(ValueError):
        StoredArray(path)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits of address space and /proc are Linux's"
)
def test_a_file_larger_than_the_address_space_is_read_in_little_memory(tmp_path):
    """8 GiB, of which the file system stores next to nothing, in a process that may have 2 GiB:
    20 windows of 8 frames, 8 MiB each.
    """
    program = f"""
        import resource
        from pathlib import Path
        import numpy as np
        from nowcast.sequences.stored import StoredArray

        path = {str(tmp_path / "large.npy")!r}
        shape = (8192, 512, 512)
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {{"descr": "<f4", "fortran_order": False, "shape": shape}})
            file.truncate(file.tell() + 4 * np.prod(shape))
        resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
        array = StoredArray(path)
        resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        before = resident()
        most = 0
        for start in range(0, 8000, 400):
            window = np.array(array[start : start + 8, 100:200, 100:200])
            most = max(most, resident() - before)
        print(window.sum(), most < 64 * 2**20, most)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("0.0 True"), done.stdout


def test_where_address_space_is_too_small_for_the_whole_file_it_is_mapped_in_pieces(tmp_path):
    path = tmp_path / "a.npy"
    with open(path, "wb") as file:
        # 256 MB, a hole
        header = {"descr": "<f4", "fortran_order": False, "shape": (64, 1024, 1024)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 64 * 4 * 2**20)
    code = (
        "import resource, sys; from nowcast.sequences.stored import StoredArray\nused ="
        " int(open('/proc/self/statm').read().split()[0]) *"
        " 4096\nresource.setrlimit(resource.RLIMIT_AS, (used + 100 * 2**20,) * 2)\nframes ="
        " StoredArray(sys.argv[1]); assert frames._whole is None; assert frames[60:64].sum() == 0"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
