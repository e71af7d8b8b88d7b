"""Build objects from a configuration: radar, windows, inputs, baselines, models."""

FACE = {
    "radar": "the opened radar, without torch",
    "windows": "the windows of a series or of digits, and a forecaster",
    "extra_inputs": "fields and time of day",
    "baselines": "the baselines of a configuration",
    "start": "a training that starts from a trained model",
    "models": "the model that forecasts, with PyTorch or ONNX Runtime",
    "watching": "the loggers of a training, and their pictures",
    "model_files": "the contents of a model file, for people",
}
"""The modules that other rooms may import, and what they give."""
