"""The kind of a layer as one value, `variant=Variant(...)`, or as keywords: the same layer."""

import copy
import pickle
from dataclasses import fields
from typing import get_type_hints

import numpy
import pytest
import torch
from layers import in_words

from nowcast.model import ConvLSTM, ConvLSTM1d, ConvLSTMCell, Variant
from nowcast.model.cell import VariantOptions
from nowcast.model.convert import from_keras, to_keras
from nowcast.model.describe import describe

KINDS = [
    {},
    {"bias": False, "proj_size": 2, "peephole": "none"},
    {"stride": (2, 1), "padding": "valid", "activation": "relu", "input_init": "glorot"},
    {"dilation": 2, "recurrent_activation": "hard_sigmoid", "unit_forget_bias": True},
]


FRAMES = torch.rand(4, 2, 1, 8, 8)


def both(options: dict[str, object], *sizes: object, **habits: object) -> list[ConvLSTM]:
    """The layer by keywords and by value, drawn from the same seed."""
    layers = []
    for form in (options, {"variant": Variant(**options)}):
        torch.manual_seed(3)
        layers.append(ConvLSTM(*sizes, **habits, **form))
    return layers


def test_the_keywords_are_the_fields() -> None:
    assert [field.name for field in fields(Variant)] == list(VariantOptions.__annotations__)
    assert get_type_hints(VariantOptions) == get_type_hints(Variant)


@pytest.mark.parametrize("options", KINDS, ids=in_words)
def test_by_value_and_by_keywords_a_layer_is_the_same(options: dict[str, object]) -> None:
    one, other = both(options, 1, [3, 2], 3, bidirectional=True, batch_first=False)
    assert repr(one) == repr(other) and one.variant == other.variant
    weights, same = one.state_dict(), other.state_dict()
    assert list(weights) == list(same)
    assert all(torch.equal(weight, same[name]) for name, weight in weights.items())
    for layer in (other, copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        assert torch.equal(one(FRAMES)[0], layer(FRAMES)[0])
    assert str(describe(one, FRAMES.shape)) == str(describe(other, FRAMES.shape))


def test_converters_give_and_take_a_layer_by_value() -> None:
    options = {"peephole": "none", "padding": "valid"}
    one, other = both(options, 1, 2, 3)
    weights = to_keras(other)
    assert all(map(numpy.array_equal, to_keras(one), weights)) and len(weights) == 3
    back = from_keras(weights, return_sequences=True, return_state=True)
    assert torch.equal(back(FRAMES)[0], one(FRAMES)[0])


def test_one_thing_given_both_ways_is_refused() -> None:
    words = (
        r"variant: given together with bias, stride; put all in Variant\(...\), or give all as key"
    )
    with pytest.raises(ValueError, match=words):
        ConvLSTM(1, 2, 3, variant=Variant(), bias=True, stride=1)


def test_an_argument_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="^biass: not an argument of a ConvLSTM"):
        ConvLSTM(1, 2, 3, biass=True)
    with pytest.raises(TypeError, match="positional"):
        ConvLSTM(1, 2, 3, 1, 5)


def test_sizes_in_a_variant_may_be_integers_of_numpy() -> None:
    layer = ConvLSTM1d(1, 2, 3, variant=Variant(stride=numpy.array([2]), proj_size=numpy.int8(1)))
    assert layer.variant == Variant(stride=(2,), proj_size=1)
    assert repr(layer) == repr(ConvLSTM1d(1, 2, 3, stride=(2,), proj_size=1))
    assert isinstance(layer.cells[0], ConvLSTMCell)
