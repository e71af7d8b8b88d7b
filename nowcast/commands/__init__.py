"""The commands, one a module: each takes its configuration and does the work."""

FACE = {
    "describe": "shapes and costs of a model",
    "evaluate": "scores of forecasts",
    "export": "a model without PyTorch",
    "fetch": "the sample data",
    "inspect": "what files hold",
    "models": "the models that come with nowcast",
    "plot": "a picture or a film of forecasts",
    "point": "what forecasts say of a place",
    "predict": "forecasts of the newest frame, a time or a period",
    "prepare": "a store of prepared rain",
    "sweep": "trainings, compared",
    "train": "a trained model",
}
"""The modules that other rooms may import, and what they give."""
