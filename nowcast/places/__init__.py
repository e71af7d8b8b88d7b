"""The forecast at a place or in an area: a curve, answers in words, warnings by rule.

Names are imported when first used: a configuration needs only `place` and `rule`.
"""

from typing import TYPE_CHECKING

from nowcast.startup import lazily

if TYPE_CHECKING:
    from nowcast.places.answers import answers_of
    from nowcast.places.curve import curve_at
    from nowcast.places.place import Place, read_places
    from nowcast.places.words import in_words
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "answers": ("answers_of",),
            "curve": ("curve_at",),
            "place": ("Place", "read_places"),
            "words": ("in_words",),
        },
    )

__all__ = ["Place", "answers_of", "curve_at", "in_words", "read_places"]

FACE = {
    "place": "places, from a file or a pair of numbers",
    "pixels": "the pixels of a place",
    "curve": "the forecast at a place, a value for each lead time",
    "answers": "whether it rains there, when it starts and stops, how much",
    "words": "answers as sentences",
    "tables": "answers as JSON and CSV",
    "zone": "times in a time zone",
    "rule": "rules of warnings",
    "geojson": "the lines of a GeoJSON file",
    "areas": "areas of a GeoJSON file",
    "warning": "warnings by rule",
}
"""The modules that other rooms may import, and what they give."""
