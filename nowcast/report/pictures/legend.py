"""The colour scales and the legend of a picture."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nowcast.report.pictures import canvas
from nowcast.report.pictures.arrows import keys_of
from nowcast.report.pictures.colours import DRY, EDGE, MISSING, NOT_COVERED
from nowcast.report.pictures.kinds import UNITS, Kind, colours_of, white_of
from nowcast.report.pictures.panel import Look

if TYPE_CHECKING:
    from nowcast.report.pictures.figure import Picture

_LEGEND, _MORE = 3.7, 1.9  # inches: a legend on one line, and each further entry


def draw_legend(figure: "Picture", groups: Mapping[Kind, Any], lines: int, look: Look) -> None:
    """Draw the colour scale of each kind next to its panels, and a legend of white and grey below.

    groups: the panels (lines, columns) of each kind. lines: of panels in the whole figure.
    """
    from matplotlib.patches import Patch

    for kind, panels in groups.items():
        _draw_scale(figure, panels, kind, look.colours, lines)
    white = "; ".join(white_of(kind, look.colours) for kind in groups)
    handles: list[Any] = [
        Patch(facecolor=colour, edgecolor=EDGE, label=label)
        for label, colour in {white: DRY, MISSING: NOT_COVERED}.items()
    ]
    if look.arrows is not None:
        handles += keys_of(look.arrows, look.shape)
    needs = _LEGEND + _MORE * (len(groups) - 1 + (look.arrows is not None))
    columns = 1 if figure.get_figwidth() < needs else len(handles)
    canvas.legend_below(figure, handles, columns)


def _draw_scale(figure: "Picture", panels: Any, kind: Kind, colours: str, lines: int) -> None:
    """Draw the colour scale of some panels; `lines` are those of panels in the whole figure."""
    from matplotlib.cm import ScalarMappable

    colormap, norm = colours_of(kind, colours)
    bar = figure.colorbar(
        ScalarMappable(norm, colormap),
        ax=panels,
        extend="neither" if kind == "probability" else "max",
        ticks=norm.boundaries,
        format="%g",
        aspect=28 * len(panels) / lines,
        pad=0.015,
        shrink=0.9,
    )
    bar.ax.tick_params(labelsize=8)
    bar.set_label(UNITS[kind])
