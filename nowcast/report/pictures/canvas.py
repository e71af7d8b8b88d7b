"""What all pictures have in common: a figure without a display, a plain look, and a file
written whole or not at all.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nowcast.files import written_whole
from nowcast.report.pictures.colours import FAINT
from nowcast.untrusted.files import importing_plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nowcast.report.pictures.figure import Picture

DPI = 150


def new_figure(width: float, height: float, dpi: int = DPI) -> "Picture":
    """A figure of so many inches."""
    with importing_plainly():
        from nowcast.report.pictures.figure import Picture

    return Picture(figsize=(width, height), dpi=dpi, layout="constrained")


def save(figure: "Figure", path: str | Path) -> Path:
    """Write a figure as PNG. Errors: CannotCreateError, InputOutputError."""
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png")
    return Path(path)


def pixels(figure: "Figure", dpi: int) -> NDArray[np.uint8]:
    """Return a figure as an image (h, w, 3) of red, green and blue, with so many pixels an inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def plain(panel: "Axes") -> None:
    """A faint grid behind the lines, and no frame above and at the right."""
    panel.grid(color=FAINT, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
