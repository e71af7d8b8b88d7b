"""Safe handling of untrusted files: checks, and reading in a separate process."""

FACE = {
    "addresses": "checks of URLs",
    "files": "checks of files",
    "isolation": "work in a separate process",
    "saved_models": "checks of the contents of model files",
}
"""The modules that other rooms may import, and what they give."""
