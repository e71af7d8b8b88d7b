"""What a forecast says of a place or an area: a curve, answers in words, warnings by rule.

All functions take a forecast dataset, as `forecast.dataset` builds and opens it, and are pure."""

FACE = {
    "place": "places, read from a file or one word",
    "pixels": "which pixels of a grid a place is",
    "curve": "the forecast at a place, a value for each lead time",
    "answers": "whether it rains there, when it starts and stops, how much",
    "words": "answers as sentences",
    "tables": "answers as JSON and CSV",
    "zone": "times in a time zone",
}
"""The modules that other rooms may import, and what they give."""
