"""From a configuration to what it names: radar, windows, inputs, baselines, models."""

FACE = {
    "radar": "the opened radar, without torch",
    "windows": "the windows of a series or of digits, and a forecaster",
    "extra_inputs": "fields and time of day",
    "baselines": "the baselines that are asked for",
    "start": "a training that begins from a trained model",
    "models": "the model that forecasts, whatever computes it",
    "watching": "the loggers of a training, and the pictures that they get",
    "model_files": "what a model file holds, for people",
}
"""The modules that other rooms may import, and what they give."""
