"""Moving-MNIST as in Shi et al. 2015, section 4.1: handwritten digits that move and bounce in a
box.
"""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nowcast.errors import DataError, MissingInputError
from nowcast.files import refuse_fault_of_machine
from nowcast.sequences.scaling import Scaling
from nowcast.sequences.windows import Pick

SIZE = 64
"""Height and width of a frame."""
DIGIT_SIZE = 28
SPEEDS = (3.0, 5.0)
"""Pixels per frame: at least the first, less than the second."""


class MovingMnistWindows:
    """Sequences generated on demand: random digits from `digits`, with random positions and
    velocities.

    Args:
        digits: (n, 28, 28) uint8.
        count: sequences in an epoch.
        digits_per_sequence: 2 in the paper, 3 in its out-of-domain test.
        fresh: whether every epoch has new sequences, or always the same ones (validation, test).
        seed: different seeds give different sequences.
    """

    scaling = Scaling("linear", 1.0, 1.0)

    def __init__(
        self,
        digits: NDArray[np.uint8],
        *,
        input_steps: int,
        lead_steps: int,
        count: int,
        digits_per_sequence: int,
        fresh: bool,
        seed: int,
    ) -> None:
        self.digits, self.count, self.fresh, self.seed = digits, count, fresh, seed
        self.input_steps, self.lead_steps = input_steps, lead_steps
        self.digits_per_sequence = digits_per_sequence

    def epoch(self, epoch: int) -> list[Pick]:
        """Return the picks of one epoch; they depend only on its number."""
        first = epoch * self.count if self.fresh else 0
        return [Pick(first + k) for k in range(self.count)]

    def __len__(self) -> int:
        """Sequences in an epoch."""
        return self.count

    def __getitem__(self, pick: Pick) -> Tensor:
        """Return the frames (t, 1, 64, 64) in [0, 1]."""
        generator = np.random.default_rng([self.seed, pick.start])
        frames = moving_digits(
            self.digits, self.input_steps + self.lead_steps, self.digits_per_sequence, generator
        )
        return torch.from_numpy(frames).unsqueeze(1)


def moving_digits(
    digits: NDArray[np.uint8], steps: int, digits_per_sequence: int, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return one sequence (steps, 64, 64) in [0, 1]; where digits overlap, the brighter pixel is
    used, as in the published set.
    """
    frames = np.zeros((steps, SIZE, SIZE), np.float32)
    for digit in digits[generator.integers(len(digits), size=digits_per_sequence)]:
        image = digit.astype(np.float32) / 255
        for frame, (top, left) in zip(frames, _bouncing_path(steps, generator), strict=True):
            box = frame[top : top + DIGIT_SIZE, left : left + DIGIT_SIZE]
            np.maximum(box, image, out=box)
    return frames


def _bouncing_path(steps: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the upper left corner (steps, 2) of a digit on a straight path, mirrored at walls."""
    room = SIZE - DIGIT_SIZE
    start = generator.uniform(0, room, size=2)
    angle, speed = generator.uniform(0, 2 * np.pi), generator.uniform(*SPEEDS)
    velocity = speed * np.array([np.sin(angle), np.cos(angle)])
    free = start + velocity * np.arange(steps)[:, np.newaxis]
    mirrored = np.abs((free + room) % (2 * room) - room)
    return np.rint(mirrored).astype(np.int64)


def open_digits(path: str | Path) -> NDArray[np.uint8]:
    """Return the images of an MNIST IDX file, gzipped or not: (n, 28, 28) uint8.

    Errors: MissingInputError, DataError.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(
            f"{path}: no such file; data.path must name MNIST's train-images-idx3-ubyte.gz."
        )
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        magic, count, height, width = struct.unpack(">4i", content[:16])
        pixels = np.frombuffer(content, np.uint8, offset=16)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        refuse_fault_of_machine(path, error)
        raise DataError(
            f"{path}: not a readable IDX file ({error}); compare it with its source."
        ) from error
    if (
        magic != 2051
        or (height, width) != (DIGIT_SIZE, DIGIT_SIZE)
        or not pixels.size == count * height * width > 0
    ):
        raise DataError(
            f"{path}: not an IDX file of 28×28 images, or cut short; data.path must name MNIST's"
            " images."
        )
    return pixels.reshape(count, height, width)
