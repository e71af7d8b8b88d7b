"""The commands, one module each: a command takes its configuration and does the work."""

FACE = {
    "describe": "shapes and costs of a model",
    "evaluate": "scores of forecasts",
    "export": "a model without PyTorch",
    "fetch": "the sample data",
    "inspect": "what files contain",
    "models": "the models that come with nowcast",
    "plot": "a picture or a film of forecasts",
    "point": "the forecast for a place",
    "predict": "forecasts from the newest frame, for a time or a period",
    "prepare": "a store of prepared rain",
    "sweep": "trainings, compared",
    "train": "a trained model",
}
"""The modules that other rooms may import, and what they give."""
