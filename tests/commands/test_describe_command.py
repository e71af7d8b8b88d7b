"""`nowcast describe` on a screen of 80 columns, for every model of the house and for a layer by
itself.
"""

import json
from collections.abc import Callable

import pytest
from helpers import Outcome

from nowcast.cli.help import group_options

Run = Callable[..., Outcome]
MODELS = group_options("model", "describe")


def size_of(key: str, model: str) -> list[str]:
    """A grid that the model takes: the fully connected ones have one of their own."""
    return [f"{key}.grid_size=[64,64]"] if "fc_lstm" in model else []


def widest(outcome: Outcome) -> int:
    assert (outcome.code, outcome.err) == (0, "")
    return max(len(line) for line in outcome.out.splitlines())


@pytest.mark.parametrize("model", MODELS)
def test_every_model_fits_80_columns(run: Run, model: str) -> None:
    outcome = run(
        "describe", f"model={model}", "grid_size=[64,64]", *size_of("model", model), "lead_steps=2"
    )
    assert widest(outcome) <= 80
    assert "…" not in outcome.out


def test_a_grid_of_millions_of_pixels_and_two_models_side_by_side_fit_too(run: Run) -> None:
    assert widest(run("describe", "grid_size=[4096,4096]", "lead_steps=2", "batch_size=16")) <= 80
    strided = "encoder_forecaster_strided"
    for one, other in (
        (strided, strided),
        (strided, "fc_lstm"),
        ("paper_9x9_1x1_128_64_64", "paper_fc_lstm_2048_2048"),
    ):
        words = [f"model={one}", f"model@other={other}", *size_of("other", other)]
        outcome = run("describe", *words, "grid_size=[64,64]", "lead_steps=2")
        assert widest(outcome) <= 80
        assert "…" not in outcome.out


def test_a_bare_layer_is_described_in_place_of_the_model(run: Run) -> None:
    """5×5 and 3×3 kernels; without padding 20 × 20 pixels become 18 × 18."""
    words = [
        "layer=conv_lstm",
        "layer.hidden_channels=[8]",
        "layer.kernel_size=5",
        "layer.padding=valid",
        "layer.peephole=none",
    ]
    outcome = run("describe", *words, "grid_size=[20,20]", "channels=2", "--json")
    (layer,) = json.loads(outcome.out)["models"]
    assert (layer["input_shape"], layer["output_shape"]) == ([1, 5, 2, 20, 20], [1, 5, 8, 18, 18])
    assert layer["parameters"] == 32 * 2 * 3 * 3 + 32 * 8 * 5 * 5 + 32
    assert layer["layers"][0]["cell_shape"] == [8, 18, 18]


@pytest.mark.parametrize(
    ("peephole", "parameters"), [("false", 24 * (50 + 6 + 2)), ("true", 24 * (50 + 6 + 1) + 3 * 6)]
)
def test_an_lstm_sees_each_frame_as_one_vector(run: Run, peephole: str, parameters: int) -> None:
    outcome = run(
        "describe",
        "layer=lstm",
        "layer.hidden_size=6",
        f"layer.peephole={peephole}",
        "grid_size=[5,5]",
        "channels=2",
        "--json",
    )
    (layer,) = json.loads(outcome.out)["models"]
    assert (layer["input_shape"], layer["output_shape"], layer["parameters"]) == (
        [1, 5, 50],
        [1, 5, 6],
        parameters,
    )


def test_a_layer_and_a_model_stand_side_by_side(run: Run) -> None:
    outcome = run("describe", "layer=lstm", "model@other=small", "grid_size=[8,8]")
    assert widest(outcome) <= 80
    assert (
        outcome.out.startswith("lstm: 1×5×64 → 1×5×2048")
        and "\nencoder_forecaster: 1×5×1×8×8 → " in outcome.out
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["layer=conv_lstm", "layer.padding=valid", "grid_size=[2,2]"],
            "conv_lstm does not fit grid_size=[2, 2], channels=1",
        ),
        (
            ["layer=conv_lstm", "layer.padding=none"],
            "layer.padding: 'none' is not one of same, valid",
        ),
        (["layer=lstm", "layer.hidden_size=0"], "layer.hidden_size: must be at least 1"),
        (["layer=gru"], "layer=gru: no such layer; there are conv_lstm, lstm."),
        (["layer=lstm", "layer.proj_size=-1"], "layer.proj_size: must be at least 0"),
    ],
)
def test_a_layer_that_cannot_be_is_refused_with_its_key(
    run: Run, words: list[str], says: str
) -> None:
    outcome = run("describe", *words)
    assert outcome.code == 78
    assert says in outcome.err and "model.grid_size" not in outcome.err
