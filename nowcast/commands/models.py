"""`nowcast models`: the trained models that come with nowcast, and their cards."""

import json

from nowcast.pretrained import card_of, card_text, model_names, path_of


def models(name: str | None, as_json: bool) -> str:
    """Return a line for each model, or the card of one.

    Args:
        name: of the model; None: all.
        as_json: one JSON document, for programs.

    Raises:
        MissingInputError: if there is no model of this name.
        DataError: if a file does not match its card.
    """
    names = model_names() if name is None else [name]
    cards = {one: {**card_of(one), "path": str(path_of(one))} for one in names}
    if as_json:
        return json.dumps(cards if name is None else cards[name], indent=1, ensure_ascii=False)
    if name is not None:
        return card_text(name).rstrip("\n")
    rows = [f"{one}: {card['summary']}" for one, card in cards.items()]
    return "\n".join([*rows, "'nowcast models NAME' shows the card of a model."])
