"""The lines of the map on the page of a forecast."""

from nowcast.arrays import Float64Array
from nowcast.radar.placing.cropping import degrees_of, knows_degrees
from nowcast.radar.placing.georeference import Place
from nowcast.report.pictures.outlines import build_outlines


def lines_on_page(
    place: Place, height: int, map: str, *, turned: bool
) -> dict[str, list[Float64Array]]:
    """Return the lines of a map by kind, each (n, 2) column and row in pixels; none if the grid has
    no place on Earth.

    Args:
        place: of the grid.
        height: of the grid in pixels.
        map: as the key `page_map`.
        turned: whether the page shows the last row at the top.

    Raises:
        MissingInputError, DataError, InputOutputError: if a GeoJSON file cannot be used.
    """
    if not knows_degrees(place):
        return {}
    outlines = build_outlines(*degrees_of(place, "the forecast"), map)
    lines = {"border": outlines.borders, "coast": outlines.coasts}
    if not turned:
        return lines
    return {kind: [[0, height - 1] + one * [1, -1] for one in some] for kind, some in lines.items()}
