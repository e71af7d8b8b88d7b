"""An array in a .npy file that is read piece by piece, as needed."""

import errno
import fcntl
import math
import mmap
import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_MAP_WHOLE_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
"""Half of this machine's memory. Mapped files are in the system's page cache, which is freed when
memory runs short.
"""


class StoredArray:
    """A .npy file read along its first axis: each piece is mapped when it is indexed, and unmapped
    when the last array that uses it is freed.

    So neither resident memory nor address space grows with the file. A file smaller than half of
    this machine's memory stays mapped as a whole, if the address space allows: pages are then
    looked up only once, which makes reading windows a third faster.

    The first index is an integer, a slice or integers; the others are as in NumPy. Results are
    read-only. The array can be passed to other processes, forked or spawned; only its path is
    pickled. While the object exists the file has a shared lock, which shows other processes that it
    is in use.

    Errors: OSError; ValueError if the file is not a .npy file, or has another size than its header
    says.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = os.open(self.path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self._file, fcntl.LOCK_SH)
        with open(self._file, "rb", closefd=False) as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("it is a .npy file of another version")
            self.shape, fortran_order, self.dtype = np.lib.format.read_array_header_1_0(file)
            self._offset = file.tell()
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        self.nbytes = self.shape[0] * self._row_bytes
        if fortran_order or os.fstat(self._file).st_size != self._offset + self.nbytes:
            raise ValueError("its size is not the one in its header")
        self._whole = self._map_whole()

    def is_in_place(self) -> bool:
        """Return whether the open file is still at its path."""
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Any) -> Any:
        if self._whole is not None:
            return self._whole[key]
        first, *others = key if isinstance(key, tuple) else (key,)
        if isinstance(first, slice) and (first.step or 1) > 0:
            start, stop, step = first.indices(len(self))
            return self._map(start, max(start, stop))[(slice(None, None, step), *others)]
        if isinstance(first, int | np.integer):
            place = range(len(self))[int(first)]
            return self._map(place, place + 1)[(0, *others)]
        places = np.arange(len(self))[first]
        rows = np.stack([self[int(place)] for place in places]) if places.size else self[:0]
        return rows[(slice(None), *others)]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self[:]
        return np.array(whole, dtype) if copy or dtype not in (None, self.dtype) else whole

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)  # type: ignore[misc]

    def _map_whole(self) -> NDArray[Any] | None:
        if self.nbytes > _MAP_WHOLE_BYTES:
            return None
        try:
            return self._map(0, len(self))
        except OSError as error:
            if error.errno != errno.ENOMEM:  # more than `ulimit -v` allows
                raise
            return None

    def _map(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows start … stop − 1; the mapping exists as long as an array uses it."""
        if stop == start or self._row_bytes == 0:
            return np.empty((stop - start, *self.shape[1:]), self.dtype)
        first, end = (self._offset + row * self._row_bytes for row in (start, stop))
        page = first - first % mmap.ALLOCATIONGRANULARITY
        memory = mmap.mmap(self._file, end - page, prot=mmap.PROT_READ, offset=page)
        return np.ndarray((stop - start, *self.shape[1:]), self.dtype, memory, first - page)


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> None:
    """Write the header of a .npy file in C order; the caller appends the values.

    A memory map is not used, because writing to it on a full disk kills the process.
    """
    header: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)
