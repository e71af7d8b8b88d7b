"""The scales and the legend of a picture."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nowcast.report.pictures.arrows import keys_of
from nowcast.report.pictures.colours import DRY, EDGE, MISSING, NOT_COVERED
from nowcast.report.pictures.kinds import UNITS, Kind, colours_of, white_of
from nowcast.report.pictures.panel import Look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEGEND, _MORE = 3.7, 1.9  # inches: a legend in one line, and each further entry


def draw_legend(figure: "Figure", groups: Mapping[Kind, Any], lines: int, look: Look) -> None:
    """Draw the scale of each kind beside its panels, and below all what white and grey are.

    groups: the panels (lines, columns) of each kind. lines: of the whole figure.
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
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5
    )


def _draw_scale(figure: "Figure", panels: Any, kind: Kind, colours: str, lines: int) -> None:
    """Draw the scale of some panels next to them; the figure has so many lines of panels."""
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
