"""Types and limits of the configuration: one module for each command, data and models."""

FACE = {
    "data": "the source of frames, inputs and sampling",
    "models": "the settings of each network",
    "checks": "checks of the values of keys",
    "effects": "which keys have an effect",
    "stored_data": "the data that a checkpoint stores",
    "named_paths": "one path, or several with names",
    "describe": "the keys of `nowcast describe`",
    "evaluate": "the keys of `nowcast evaluate`",
    "export": "the keys of `nowcast export`",
    "inspect": "the keys of `nowcast inspect`",
    "plot": "the keys of `nowcast plot`",
    "point": "the keys of `nowcast point`",
    "predict": "the keys of `nowcast predict`",
    "prepare": "the keys of `nowcast prepare`",
    "train": "the keys of `nowcast train`",
}
"""The modules that other rooms may import, and what they give."""
