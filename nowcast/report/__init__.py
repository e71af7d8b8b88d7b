"""What a person looks at: the page of an evaluation, its charts, pictures and films."""

FACE = {
    "page": "the page of an evaluation",
    "pictures.charts": "charts of scores and of training as PNG",
    "pictures.figure": "the figure that a notebook shows",
    "pictures.frames": "pictures and films of rain",
}
"""The modules that other rooms may import, and what they give."""
