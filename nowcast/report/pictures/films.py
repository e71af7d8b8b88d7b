"""Films: a sequence of pictures as GIF with one fixed palette, or as MP4 that browsers play."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nowcast.errors import InputOutputError, MissingLibraryError
from nowcast.files import written_whole
from nowcast.version import install_command

if TYPE_CHECKING:
    from PIL import Image

Picture = npt.NDArray[np.uint8]
"""An image (h, w, 3) of red, green and blue."""
_H264 = (
    "-an", "-vcodec", "libx264", "-crf", "14", "-movflags", "+faststart",
    "-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709",
    # stated, because players otherwise guess from the size
)  # fmt: skip


def write_gif(
    path: str | Path, pictures: Iterable[Picture], frames_per_second: float, colours: Sequence[str]
) -> Path:
    """Write a GIF that loops.

    `colours`, as "#rrggbb", are kept exactly; the rest of the palette are the most frequent colours
    of the first picture.

    Errors: CannotCreateError, InputOutputError.
    """
    pictures = iter(pictures)
    first = next(pictures)
    palette = _palette(first, colours)
    images = (_indexed(picture, palette) for picture in chain([first], pictures))
    # ms; a GIF counts hundredths, and browsers slow down below two
    duration = 10 * max(2, round(100 / frames_per_second))
    with written_whole(path) as temporary:
        next(images).save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images,
            duration=duration,
            loop=0,
            optimize=False,
            disposal=1,
        )
    return Path(path)


def write_mp4(path: str | Path, pictures: Iterable[Picture], frames_per_second: float) -> Path:
    """Write an MP4 that browsers play: H.264, yuv420p, padded with white to an even size.

    Errors: MissingLibraryError without imageio-ffmpeg, CannotCreateError, InputOutputError.
    """
    ffmpeg = _ffmpeg(path)
    even = map(_even, pictures)
    first = next(even)
    height, width = first.shape[:2]
    source = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{width}x{height}",
        "-r",
        f"{frames_per_second:g}",
        "-i",
        "-",
    ]
    with written_whole(path) as temporary, TemporaryFile() as log:
        command = [ffmpeg, "-y", "-v", "error", *source, *_H264, "-f", "mp4", str(temporary)]
        with Popen(command, stdin=PIPE, stdout=DEVNULL, stderr=log) as process:
            assert process.stdin is not None
            try:
                for picture in chain([first], even):
                    process.stdin.write(picture.data)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it ended early; its exit code and log give the reason
        if process.returncode != 0:
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise InputOutputError(
                f"{path}: ffmpeg failed ({said[-1]}); nothing was left behind. Check the disk, or"
                " choose .gif."
            )
    return Path(path)


def _ffmpeg(path: str | Path) -> str:
    """Return the path of the ffmpeg that imageio-ffmpeg brings."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MissingLibraryError(
            f"{path}: an MP4 needs imageio-ffmpeg: {install_command('video')}; or end the name in"
            " .gif."
        ) from error


def _even(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), constant_values=255)
    return np.ascontiguousarray(padded)


def _palette(picture: Picture, colours: Sequence[str]) -> Picture:
    """Return up to 256 colours, (n, 3): the given ones, then the most frequent others."""
    given = np.array(
        [[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in colours], dtype=np.uint8
    )
    found, counts = np.unique(_packed(picture), return_counts=True)
    others = found[np.argsort(-counts, kind="stable")]
    others = others[~np.isin(others, _packed(given))][: 256 - len(given)]
    return np.concatenate([given, _unpacked(others)])


def _indexed(picture: Picture, palette: Picture) -> "Image.Image":
    """Return a picture in which each pixel has the nearest colour of the palette."""
    from PIL import Image

    found, place = np.unique(_packed(picture), return_inverse=True)
    difference = _unpacked(found).astype(np.int32)[:, None] - palette.astype(np.int32)
    nearest = np.square(difference).sum(axis=2).argmin(axis=1).astype(np.uint8)
    image = Image.fromarray(nearest[place].reshape(picture.shape[:2]), mode="P")
    image.putpalette(palette.tobytes())
    return image


def _packed(colours: Picture) -> npt.NDArray[np.uint32]:
    """Return colours (…, 3) as one number each, (…)."""
    packed: npt.NDArray[np.uint32] = colours.astype(np.uint32) @ np.array(
        [2**16, 2**8, 1], dtype=np.uint32
    )
    return packed


def _unpacked(numbers: npt.NDArray[np.uint32]) -> Picture:
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=-1).astype(np.uint8)
