"""Sequences: from a precipitation grid (or Moving-MNIST) to the windows that a model is trained
and scored on."""
