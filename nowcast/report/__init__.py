"""Everything to look at: the report of an evaluation, other pages, charts, pictures and films."""

from typing import TYPE_CHECKING

from nowcast.startup import lazily

if TYPE_CHECKING:
    from nowcast.report.pictures.frames import draw_film, draw_frames, frames_figure
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "pictures.frames": (
                "draw_film",
                "draw_frames",
                "frames_figure",
            ),
        },
    )

__all__ = ["draw_film", "draw_frames", "frames_figure"]

FACE = {
    "page": "the page of an evaluation",
    "forecast_page": "the page of the newest forecast",
    "page_places": "places on that page",
    "leaderboard": "the page that compares trainings",
    "foot": "source, model, date of making and licence, below a page or a picture",
    "scale": "lengths in km: the size of a pixel, and scale bars",
    "pictures.arrows": "arrows of motion in a picture",
    "pictures.canvas": "a picture as a file",
    "pictures.charts": "charts of scores and of training as PNG",
    "pictures.coast": "coastlines and borders near a place",
    "pictures.figure": "the figure that a notebook shows",
    "pictures.frames": "pictures and films of rain",
    "pictures.stamps": "members as stamps",
    "pictures.outlines": "the lines of a map in pixels of a grid",
}
"""The modules that other rooms may import, and what they give."""
