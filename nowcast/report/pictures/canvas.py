"""What all pictures share: a figure without a display, a plain look, a foot, and a PNG file that is
written whole or not at all.
"""

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nowcast.files import written_whole
from nowcast.report.pictures.colours import FAINT, SOFT
from nowcast.untrusted.files import importing_plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nowcast.report.pictures.figure import Picture

DPI = 150
_FOOT_SIZE = 6.5  # points
_FOOT_LETTERS = 19  # an inch holds at least so many
_FOOT_EDGE = 0.08  # inches at the left of a foot, below it and above it


def new_figure(width: float, height: float, dpi: int = DPI, foot: str = "") -> "Picture":
    """Return a figure of a width and height in inches, and below it a foot in small type."""
    with importing_plainly():
        from nowcast.report.pictures.figure import Picture

    if not foot:
        return Picture(figsize=(width, height), dpi=dpi, layout="constrained")
    letters = int(_FOOT_LETTERS * (width - 2 * _FOOT_EDGE))
    lines = wrap(foot, letters, break_on_hyphens=False)
    more = len(lines) * _FOOT_SIZE * 1.25 / 72 + 2 * _FOOT_EDGE
    figure = Picture(figsize=(width, height + more), dpi=dpi)
    figure.foot_share = more / (height + more)
    _lay_out_above(figure, figure.foot_share)
    words = figure.text(
        _FOOT_EDGE / width,
        _FOOT_EDGE / (height + more),
        "\n".join(lines),
        fontsize=_FOOT_SIZE,
        color=SOFT,
        linespacing=1.25,
        va="bottom",
        parse_math=False,
    )
    words.set_in_layout(False)
    return figure


def legend_below(figure: "Picture", handles: list[Any], columns: int) -> None:
    """Draw a legend below the panels of a figure, and above its foot."""
    style = {"handles": handles, "ncols": columns, "frameon": False, "fontsize": 8.5}
    if not figure.foot_share:
        figure.legend(loc="outside lower center", **style)
        return
    # the layout makes no room for a legend with an anchor
    legend = figure.legend(loc="lower center", bbox_to_anchor=(0.5, figure.foot_share), **style)
    share = legend.get_window_extent().height / figure.bbox.height
    bottom = figure.foot_share + share + 1.5 * _FOOT_EDGE / figure.get_figheight()
    _lay_out_above(figure, bottom)


def _lay_out_above(figure: "Picture", bottom: float) -> None:
    figure.set_layout_engine(
        "constrained",
        rect=(0, bottom, 1, 1 - bottom),
    )


def save(figure: "Figure", path: str | Path) -> Path:
    """Write a figure as PNG and return its path. Errors: CannotCreateError, InputOutputError."""
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png")
    return Path(path)


def pixels(figure: "Figure", dpi: int) -> NDArray[np.uint8]:
    """Return a figure as an image (h, w, 3) of red, green and blue, `dpi` pixels an inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def plain(panel: "Axes") -> None:
    """Draw a faint grid behind the lines of a panel, and no frame above and at the right."""
    panel.grid(color=FAINT, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
