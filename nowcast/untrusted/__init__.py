"""Files that may come from anyone: checked, and opened in a process of their own."""

FACE = {
    "addresses": "what an address may be",
    "files": "whether a file is sound",
    "isolation": "work in a process apart",
    "saved_models": "model files, before they are opened",
}
"""The modules that other rooms may import, and what they give."""
