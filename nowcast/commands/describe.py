"""`nowcast describe`: shapes and costs of one or two models, layer by layer and gate by gate."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Column, Table
from torch import nn

from nowcast.config.describe import DescribeConfig
from nowcast.config.models import LAYER_CONFIGS
from nowcast.console import UNLIMITED_WIDTH
from nowcast.console import console as standard_output
from nowcast.errors import ConfigError
from nowcast.model import FCLSTM, ConvLSTM, build_model
from nowcast.model.describe import Description, Dimensions, LayerRow
from nowcast.model.describe import describe as describe_model

CAPTION = """\
Shapes omit batch and time. Numbers are measured on a dry run in float32:
multiply–adds: convolutions and matrix products of one forward pass
training memory: what autograd keeps for the backward pass, without weights
forecasting memory: the peak while a layer runs, without weights"""

WIDTH = 80
"""Terminal width in columns that every table fits."""

Columns = dict[str, Callable[[LayerRow], str]]

SHAPES: Columns = {
    "input": lambda row: dimensions(row.input_shape),
    "kernel": lambda row: dimensions(row.kernel_shape),
    "recurrent kernel": lambda row: dimensions(row.recurrent_kernel_shape),
    "gates": lambda row: dimensions(row.gates_shape),
    "cell": lambda row: dimensions(row.cell_shape),
    "hidden": lambda row: dimensions(row.hidden_shape),
}
COSTS: Columns = {
    "steps": lambda row: "" if row.steps is None else str(row.steps),
    "parameters": lambda row: short(row.parameters),
    "multiply–adds": lambda row: short(row.multiply_adds, "MAC"),
    "training memory": lambda row: memory(row.activation_bytes_training),
    "forecasting memory": lambda row: memory(row.activation_bytes_forecasting),
}
FIELDS = SHAPES | COSTS
"""The values shown for each layer or gate."""


def describe(config: DescribeConfig, as_json: bool = False) -> None:
    """Print the shapes and costs of the configured models or layer, as tables or as JSON."""
    settings = [
        asdict(model) for model in (config.layer or config.model, config.other) if model is not None
    ]
    models = [describe_one(model, config) for model in settings]
    if as_json:
        size = {
            key: value
            for key, value in asdict(config).items()
            if key not in ("model", "other", "layer")
        }
        described = [
            {"model": model, **asdict(description)}
            for model, description in zip(settings, models, strict=True)
        ]
        print(json.dumps({**size, "models": described}))
        return
    screen = standard_output()
    screen.width = min(screen.width, WIDTH)
    for model, description in zip(settings, models, strict=True):
        shapes = f"{dimensions(description.input_shape)} → {dimensions(description.output_shape)}"
        screen.print(f"{model['name']}: {shapes}, {description.parameters:,} parameters")
    for table in tables([model["name"] for model in settings], models, screen.width):
        screen.print(table)
        screen.print()
    screen.print(CAPTION)


def describe_one(settings: dict[str, Any], config: DescribeConfig) -> Description:
    """Describe the model or layer of these settings.

    Errors: ConfigError if it cannot be built, or does not take frames of this size.
    """
    frames = (config.batch_size, config.input_steps, config.channels, *config.grid_size)
    own = settings["name"] in LAYER_CONFIGS
    try:
        with torch.device("meta"):
            model = build_layer(settings, config) if own else build_model(settings, config.channels)
        if not own:
            return describe_model(model, frames, config.lead_steps)
        return describe_model(
            model, (*frames[:2], math.prod(frames[2:])) if settings["name"] == "lstm" else frames
        )
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise ConfigError(
            f"{settings['name']}: too large to count with grid_size={config.grid_size}; make it"
            " smaller."
        ) from error
    except ValueError as error:
        where = (
            f"{settings['name']} does not fit grid_size={config.grid_size},"
            f" channels={config.channels}"
        )
        if own:
            raise ConfigError(f"{where}: {error}") from error
        raise ConfigError(
            f"{where}: {error} Give the size of its frames, or set the model's own grid_size if it"
            " has one (model.grid_size, other.grid_size)."
        ) from error


def build_layer(settings: dict[str, Any], config: DescribeConfig) -> nn.Module:
    """Build a single layer from its settings.

    Errors: ValueError if the settings do not fit together.
    """
    options = {key: value for key, value in settings.items() if key != "name"}
    if settings["name"] == "lstm":
        return FCLSTM(config.channels * math.prod(config.grid_size), **options)
    return ConvLSTM(config.channels, grid_size=tuple(config.grid_size), **options)


def tables(names: Sequence[str], models: Sequence[Description], width: int) -> list[Table]:
    """Return tables of shapes and costs: a row for each layer and gate of one model; a column for
    each model if there are two or a row is too wide.
    """
    if len(models) == 1:
        rows = [table_of_layers(models[0], fields) for fields in (SHAPES, COSTS)]
        if all(Console(width=UNLIMITED_WIDTH).measure(table).maximum <= width for table in rows):
            return rows
    return [table_of_models(names, models)]


def table_of_layers(described: Description, fields: Columns) -> Table:
    """Return a table with a row for each layer and gate that has any of the fields."""
    table = Table("layer", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for field in fields:
        table.add_column(field.replace(" ", "\n"), justify="right", no_wrap=True)
    for row in (*described.layers, total(described)):
        for part, indent, style in ((row, "", None), *((part, "  ", "dim") for part in row.parts)):
            cells = [show(part) for show in fields.values()]
            if any(cells):
                table.add_row(indent + part.name, *cells, style=style)
    return table


def table_of_models(names: Sequence[str], models: Sequence[Description]) -> Table:
    """Return a table with a column for each model and their layers side by side."""
    table = Table(
        "",
        *(Column(name, overflow="fold") for name in names),
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    layers = [
        *zip_longest(*(model.layers[:-1] for model in models)),
        tuple(model.layers[-1] for model in models),
    ]
    for rows in (*layers, tuple(total(model) for model in models)):
        present = [row or LayerRow("", "") for row in rows]
        table.add_row("", *(f"{row.name} {row.kind}" for row in present), style="bold")
        for field, show in FIELDS.items():
            cells = [show(row) if row else "" for row in rows]
            if any(cells):
                table.add_row(field, *cells)
        parts = [{part.name: part for part in row.parts} for row in present]
        for name in dict.fromkeys(name for by_name in parts for name in by_name):
            of_models = [
                [show(by_name[name]) for show in FIELDS.values()] if name in by_name else []
                for by_name in parts
            ]
            table.add_row(
                f"  {name}", *(", ".join(filter(None, cells)) for cells in of_models), style="dim"
            )
    return table


def total(described: Description) -> LayerRow:
    """Return the sums over the layers; the forecasting memory is that of the largest."""
    return LayerRow(
        "total",
        "",
        parameters=described.parameters,
        multiply_adds=described.multiply_adds,
        activation_bytes_training=described.activation_bytes_training,
        activation_bytes_forecasting=described.activation_bytes_forecasting,
    )


def dimensions(shape: Dimensions | None) -> str:
    """Format a shape as 256×64×3×3, or an empty text for None."""
    return "" if shape is None else "×".join(map(str, shape))


def short(number: int, unit: str = "") -> str:
    """Format a number with three digits: 896 k, 22.3 GMAC."""
    return _prefixed(number, 1000, ("", "k", "M", "G", "T", "P"), unit)


def memory(size: int | None) -> str:
    """Format a size with three digits: 68.6 MiB, or an empty text for None."""
    return "" if size is None else _prefixed(size, 1024, ("", "Ki", "Mi", "Gi", "Ti", "Pi"), "B")


def _prefixed(number: float, step: int, prefixes: Sequence[str], unit: str) -> str:
    power = 0
    while number >= 999.5 and power < len(prefixes) - 1:
        number, power = number / step, power + 1
    digits = 0 if power == 0 or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f} {prefixes[power]}{unit}".strip()
