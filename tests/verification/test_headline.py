"""The headline table: what it shows, marks and explains, and how wide it is."""

import xarray as xr
from counts_by_hand import OPTIONS, by_hand, tallied

from nowcast.verification.dataset import scores_dataset
from nowcast.verification.headline import headline_table, headline_text

DAYS = [f"2018-05-{day}T12" for day in range(10, 22)]


def twins(days: list[str], names: list[str]) -> xr.Dataset:
    """The same forecast under several names."""
    one = tallied(days).sel(forecast=["near"])
    return scores_dataset(
        xr.concat(
            [one.assign_coords(forecast=[name]) for name in names], "forecast", data_vars="minimal"
        ),
        **OPTIONS,
    )


def row(text: str, label: str) -> list[str]:
    return next(line for line in text.splitlines() if label in line).replace(label, "").split()


def caption_of(dataset: xr.Dataset) -> str:
    return " ".join(headline_text(dataset).split())


def two_forecasts(better: int = 2, days: int = 12, resamples: int = 200) -> xr.Dataset:
    """Days differ; the first forecast has so many hits more of 10 on each, at both lead times."""
    hits = [5, 2, 6, 3, 4, 7, 1, 5, 3, 6, 2, 4][:days]
    tables = {
        name: [[[hit + more, 1, 10 - hit - more, 9]] * 2 for hit in hits]
        for name, more in (("model", better), ("persistence", 0))
    }
    sums = [[[1.0] * 2] * days, [[2.0] * 2] * days]
    return scores_dataset(
        by_hand(DAYS[:days], tables, squared_error=sums, absolute_error=sums),
        **{**OPTIONS, "resamples": resamples},
    )


def test_the_headline_has_the_means_with_their_intervals_and_stars_what_is_more_than_chance() -> (
    None
):
    dataset = two_forecasts()
    text = headline_text(dataset)
    at = dataset.sel(threshold=1.0)
    for name, label in (("csi", "CSI ≥ 1"), ("hss", "HSS ≥ 1")):
        cells = []
        for forecast, mark in (("model", "*"), ("persistence", "")):
            mean = at[f"{name}_mean"].sel(part="all", forecast=forecast).item()
            low, high = (
                at[f"{name}_mean_{bound}"].sel(forecast=forecast).item()
                for bound in ("low", "high")
            )
            cells += [f"{mean:.3f}{mark}", f"{low:.3f}–{high:.3f}"]
        assert row(text, label) == cells
    assert row(text, "MSE, mm²/h²") == ["0.050*", "0.050–0.050", "0.100", "0.100–0.100"]
    assert "* significantly better than every other forecast" in caption_of(dataset)


def test_the_caption_says_what_the_numbers_are() -> None:
    caption = caption_of(two_forecasts())
    assert (
        "Mean over 2 lead times of the score at each, from counts added over 12 cases." in caption
    )
    assert "Each with its 95% interval: studentised bootstrap over the 12 days." in caption
    assert "rough" not in caption and "†" not in caption


def test_the_frequency_bias_stands_below_the_csi() -> None:
    plain = two_forecasts()
    cut = plain.assign_attrs(cuts_fitted_on="2018-05-09, 96 cases")
    labels = [
        [line.split("≥")[0].strip() for line in headline_text(one).splitlines() if "≥" in line]
        for one in (plain, cut)
    ]
    for one in labels:
        assert list(dict.fromkeys(one)) == ["CSI", "bias", "HSS"]
    mean = plain["frequency_bias_mean"].sel(part="all", threshold=1.0, forecast="model").item()
    assert row(headline_text(cut), "bias ≥ 1")[0].rstrip("*") == f"{mean:.3f}"
    assert "(cuts): with cuts fitted on 2018-05-09, 96 cases." in caption_of(cut)
    assert "cuts" not in caption_of(plain)


def test_few_days_are_called_rough_and_one_has_no_interval() -> None:
    assert "It is rough with fewer than 10 days: a single day moves it a lot." in caption_of(
        two_forecasts(days=9)
    )
    few = caption_of(two_forecasts(days=5))
    assert (
        "No difference is called significant: with 5 days, one of two equal forecasts is better"
        " in all of them by chance once in 16 times."
        in few
        and "*" not in few
    )
    enough = caption_of(two_forecasts(days=6))
    assert "by chance" not in enough and "*" in enough
    alone = two_forecasts(days=1)
    assert "counts added over 1 case. No intervals: all cases lie in one day." in caption_of(alone)
    assert "*" not in caption_of(alone) and "rough" not in caption_of(alone)
    assert row(headline_text(alone), "CSI ≥ 1") == ["0.636", "0.455"]
    assert "No intervals were requested." in caption_of(two_forecasts(resamples=0))


def test_a_score_without_an_interval_stands_below_those_that_have_one() -> None:
    """On all days but one nothing is observed, and only the other forecasts an event, once."""
    tables = {
        "model": [[[3, 1, 1, 5]], *[[[0, 0, 0, 10]]] * 9],
        "other": [[[3, 2, 1, 4]], [[0, 1, 0, 9]], *[[[0, 0, 0, 10]]] * 8],
    }
    dataset = scores_dataset(by_hand(DAYS[:10], tables), **OPTIONS)
    line = next(line for line in headline_text(dataset).splitlines() if "CSI ≥ 1" in line)
    assert row(headline_text(dataset), "CSI ≥ 1")[:2] == ["0.600", "0.429"]
    assert line.index("0.600") + len("0.600 0.000–0.000") + 3 == line.index("0.429")
    assert "No interval if a score depends on too few days." in caption_of(dataset)


def test_nothing_is_starred_where_the_difference_may_be_chance() -> None:
    assert "*" not in headline_text(two_forecasts(better=0)).partition("MSE")[0]


def test_the_best_is_bold_and_intervals_are_faint() -> None:
    table = headline_table(two_forecasts()).renderables[0]
    model, persistence = (next(iter(column.cells)) for column in table.columns[1:])
    assert [str(span.style) for span in model.spans] == ["bold", "dim"]
    assert [str(span.style) for span in persistence.spans] == ["dim"]


def test_a_score_undefined_at_some_lead_times_is_marked_and_at_all_a_dash() -> None:
    tables = {"model": [[[3, 1, 1, 5], [0, 0, 0, 10]]], "dry": [[[0, 0, 0, 10], [0, 0, 0, 10]]]}
    dataset = scores_dataset(by_hand(DAYS[:1], tables), **OPTIONS)
    assert row(headline_text(dataset), "CSI ≥ 1") == ["0.600†", "–"]
    assert "† undefined at some lead times, which are left out." in caption_of(dataset)
    assert row(headline_text(dataset), "MAE, mm/h") == ["0.000", "0.000"]


def test_three_forecasts_have_their_intervals_beside_them_and_four_fit_100_columns() -> None:
    names = ["model", "persistence", "extrapolation", "sprog"]
    for number, widest in ((3, 80), (4, 100)):
        text = headline_text(twins(DAYS[:10], names[:number]))
        assert max(len(line) for line in text.splitlines()[:-6]) <= widest
        assert len(row(text, "CSI ≥ 0.5")) == 2 * number


def test_where_there_is_no_room_intervals_go_below_and_no_number_is_cut() -> None:
    names = [
        "model",
        "persistence",
        "optical flow",
        "blend of all",
        "another model with a long name",
    ]
    lines = headline_text(twins(DAYS[:10], names), width=60).splitlines()
    number = next(number for number, line in enumerate(lines) if "CSI ≥ 0.5" in line)
    assert len(lines[number].split()) == 3 + 5 and lines[number + 1].count("–") == 5
    assert "…" not in "".join(lines) and "another model with a long name" in lines[1]
