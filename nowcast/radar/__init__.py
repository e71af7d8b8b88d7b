"""Radar files → one canonical grid of rain rates (time, y, x) in mm/h; and synthetic rain of
the same form.

A name is imported when it is first used: a configuration needs only `reading.options`.
"""

from typing import TYPE_CHECKING

from nowcast.startup import lazily

if TYPE_CHECKING:
    from nowcast.radar.finding.files import find_files, newest_files, would_find
    from nowcast.radar.grid import RATE, build_grid, check_grid, timestep_of
    from nowcast.radar.reading.options import ReadOptions
    from nowcast.radar.reading.units import ZR_RELATIONS, dbz_to_rate, rate_factor, rate_to_dbz
    from nowcast.radar.series.opening import open_files, open_grid
    from nowcast.radar.synthetic import Weather, synthetic_frames, synthetic_grid, write_synthetic
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "finding.files": ("find_files", "newest_files", "would_find"),
            "grid": ("RATE", "build_grid", "check_grid", "timestep_of"),
            "reading.options": ("ReadOptions",),
            "reading.units": ("ZR_RELATIONS", "dbz_to_rate", "rate_factor", "rate_to_dbz"),
            "series.opening": ("open_files", "open_grid"),
            "synthetic": ("Weather", "synthetic_frames", "synthetic_grid", "write_synthetic"),
        },
    )

__all__ = [
    "RATE", "ZR_RELATIONS", "ReadOptions", "Weather", "build_grid", "check_grid", "dbz_to_rate",
    "find_files", "newest_files", "open_files", "open_grid", "rate_factor", "rate_to_dbz",
    "synthetic_frames", "synthetic_grid", "timestep_of", "would_find",
    "write_synthetic",
]  # fmt: skip

FACE = {
    "reading.options": "what a user may say about files",
    "grid": "the canonical grid and its names",
    "times": "times and the regular clock",
    "finding.time_patterns": "patterns of times in paths",
    "reading.file": "one file described",
    "reading.formats": "the formats and their readers",
    "reading.rates": "frames of a series in mm/h",
    "reading.storage": "the files that are kept open",
    "reading.units": "what units mean in mm/h",
    "placing.georeference": "where pixels are",
    "placing.place": "where a grid lies, in words",
    "placing.north_up": "a regular grid, first row in the north",
    "placing.grid_match": "whether two grids are alike",
    "placing.regions": "parts of a grid",
    "placing.cropping": "boxes of degrees",
    "placing.resampling": "larger pixels, or those of another grid",
    "remote.path": "addresses as paths",
    "remote.copies": "files of servers as local copies",
    "series.series": "many files as one series",
    "series.describing": "files described, and what is wrong with them",
    "series.building": "files laid out in time",
    "series.opening": "series as one grid",
    "series.fields_ahead": "forecasts of further fields on the grid",
    "series.other_forecasts": "forecasts of rain by other programs",
    "series.fields": "further fields on the grid",
    "series.neighbours": "frames that do not fit their neighbours",
    "series.cadence": "a coarser clock",
    "store.store": "a store of prepared rain",
    "store.preparation": "the days of a store",
    "store.processes": "work in several processes",
    "inspection.inspection": "what the frames of a series show",
    "inspection.survey": "files of any kind looked through",
}
"""The modules that other rooms may import, and what they give."""
