"""Radar files → one canonical grid of rain rates (time, y, x) in mm/h; and synthetic rain of
the same form.
"""

from nowcast.radar.finding.files import find_files, newest_files
from nowcast.radar.grid import RATE, build_grid, check_grid, timestep_of
from nowcast.radar.reading.file import ReadOptions
from nowcast.radar.reading.units import ZR_RELATIONS, dbz_to_rate, rate_factor, rate_to_dbz
from nowcast.radar.series.opening import open_files, open_grid
from nowcast.radar.synthetic import Weather, synthetic_frames, synthetic_grid, write_synthetic

__all__ = [
    "RATE", "ZR_RELATIONS", "ReadOptions", "Weather", "build_grid", "check_grid", "dbz_to_rate",
    "find_files", "newest_files", "open_files", "open_grid", "rate_factor", "rate_to_dbz",
    "synthetic_frames", "synthetic_grid", "timestep_of", "write_synthetic",
]  # fmt: skip
