"""The crank: it learns, it stops and goes on without losing a bit, and it never spoils what it
has saved.
"""

import contextlib
import io
import json
import math
import signal
import sys
from dataclasses import replace

import pytest
import torch

from nowcast.errors import InternalError, Interrupted
from nowcast.sequences.batch import build_batch
from nowcast.sequences.inputs import Inputs
from nowcast.training import loop
from nowcast.training.checkpoints import read_checkpoint
from nowcast.training.choice import decided_by_loss, mean_csi, rank
from nowcast.training.loop import linear_share
from nowcast.training.losses import loss_of
from nowcast.training.optimizers import build_schedule
from nowcast.training.precision import be_deterministic
from nowcast.training.resuming import say_what_changed
from nowcast.training.signals import StopRequest
from nowcast.training.steps import Steps
from nowcast.verification.counts import Counts

NAN = float("nan")
CALLS = 8
"""Of the loss in an epoch: 4 batches of training and 4 of validation."""


class Killed(BaseException):
    """As a power cut: nothing gets a chance to save."""


class Scripted:
    """The mean squared error, and something that happens at one of its calls (the first is 1)."""

    def __init__(self, at, happen):
        self.at, self.happen, self.calls = at, happen, 0

    def __call__(self, *args):
        self.calls += 1
        value = loss_of("mse")(*args)
        return self.happen(value) if self.calls == self.at else value


def assert_same(one, other, where=""):
    """Equal to the bit, tensors and all."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for k, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}/{k}")
    else:
        assert one == other, where


def outcome(folder, name="last.pt"):
    """All of a checkpoint that must not depend on how often a run was stopped."""
    checkpoint = read_checkpoint(folder / name)
    history = [
        {key: value for key, value in row.items() if "seconds" not in key}
        for row in checkpoint["progress"]["history"]
    ]
    parts = ("weights", "ema", "optimizer", "schedule", "gradient_scaler", "config")
    return {**{part: checkpoint[part] for part in parts}, "history": history}


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def validation_loss(model, windows):
    with torch.no_grad():
        batch = build_batch(
            torch.stack([windows[pick] for pick in windows.epoch(0)]),
            windows.scaling,
            windows.input_steps,
        )
        return loss_of("mse")(
            model(batch.past, windows.lead_steps),
            batch.future,
            batch.future_mask,
            batch.future_rates,
            batch.weights,
        ).item()


# ---- learning


def test_a_few_showers_are_learned_by_heart(build_trainer, showers, tmp_path) -> None:
    windows = showers(16, fresh=False)
    history = build_trainer(tmp_path, epochs=15, lr=2e-2).fit(windows, windows, StopRequest())
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 10
    assert history[-1]["validation_loss"] < history[0]["validation_loss"] / 10
    assert history[-1]["validation_csi"] > 0.8 > history[0]["validation_csi"]


def test_every_epoch_draws_other_windows(build_trainer, showers, tmp_path) -> None:
    seen = []

    class Watched(showers):
        def __getitem__(self, pick):
            seen.append(pick.start)
            return super().__getitem__(pick)

    windows = Watched()
    build_trainer(tmp_path, epochs=2).fit(windows, showers(), StopRequest())
    assert seen == [pick.start for epoch in (0, 1) for pick in windows.epoch(epoch)]
    assert seen[:8] != seen[8:]


def test_a_last_batch_that_is_not_full_is_trained_on_and_weighs_as_its_windows(
    build_trainer, showers, tmp_path
) -> None:
    trainer = build_trainer(tmp_path, epochs=1, batch_size=4, ema_decay=0.0)
    row = trainer.fit(showers(5), showers(5), StopRequest())[0]
    assert trainer.steps.schedule.last_epoch == 2
    assert row["validation_loss"] == pytest.approx(
        validation_loss(trainer.model, showers(5)), rel=1e-5
    )


def test_windows_loaded_in_other_processes_are_the_same_ones(
    build_trainer, showers, tmp_path
) -> None:
    for workers in (0, 1):
        build_trainer(tmp_path / str(workers), epochs=1, workers=workers).fit(
            showers(), showers(), StopRequest()
        )
    assert_same(outcome(tmp_path / "0"), outcome(tmp_path / "1"))


def test_the_gradient_is_clipped(build_trainer, showers, tmp_path) -> None:
    """SGD of rate 1 moves the weights by as much as the gradient is long."""
    for clip, length in ((1e-3, 1e-3), (1e9, None), (None, None)):
        trainer = build_trainer(tmp_path, gradient_clip=clip, ema_decay=0.0)
        trainer.steps.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
        trainer.steps.schedule = build_schedule(
            trainer.steps.optimizer, "constant", steps=1, warmup_steps=0, final_share=1.0
        )
        before = [p.detach().clone() for p in trainer.model.parameters()]
        windows = showers()
        trainer.steps.take(next(trainer._load(windows, [windows.epoch(0)])))
        moved = math.sqrt(
            sum(
                (p - q).square().sum().item()
                for p, q in zip(before, trainer.model.parameters(), strict=True)
            )
        )
        assert moved == pytest.approx(length, rel=1e-3) if length else moved > 1e-2


def test_a_window_of_more_weight_counts_for_more_in_training_and_not_in_validation(
    build_trainer, showers, tmp_path
) -> None:
    """A batch of weights 2 and 0 is a batch of the first window alone, of twice the pixels."""

    class Weighted(showers):
        weights = (2.0, 0.0)

        def epoch(self, epoch):
            return [
                replace(pick, weight=weight)
                for pick, weight in zip(super().epoch(epoch), self.weights, strict=True)
            ]

    habits = {"epochs": 1, "ema_decay": 0.0}
    weighted, alone = (
        build_trainer(tmp_path / "a", **habits),
        build_trainer(tmp_path / "b", batch_size=1, **habits),
    )
    windows = Weighted(2)
    (pair,) = weighted._load(windows, [windows.epoch(0)])
    (first,) = alone._load(windows, [[replace(windows.epoch(0)[0], weight=1.0)]])
    assert float(weighted.steps.take(pair)) == pytest.approx(
        float(alone.steps.take(first)), rel=1e-6
    )
    for one, other in zip(weighted.model.parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    row = weighted._validate(windows, StopRequest())
    assert row["validation_loss"] == pytest.approx(
        validation_loss(weighted.model, showers(2)), rel=1e-6
    )


def test_a_model_is_trained_on_all_channels_of_its_inputs(build_trainer, showers, tmp_path) -> None:
    """The mask of the first, the second and the third input frame, of which a window may lack
    one.
    """

    class Gappy(showers):
        def epoch(self, epoch):
            return [replace(pick, dropped=(k % 3,)) for k, pick in enumerate(super().epoch(epoch))]

        def __getitem__(self, pick):
            return super().__getitem__(pick).index_fill(0, torch.tensor(pick.dropped), torch.nan)

    trainer = build_trainer(tmp_path, epochs=1, kind="masked")
    seen = []
    trainer.model.register_forward_pre_hook(lambda model, inputs: seen.append(inputs[0]))
    trainer.inputs = Inputs(mask=True)
    trainer.fit(Gappy(), showers(), StopRequest())
    masks = torch.cat(seen[:4])[:, :, 1]
    assert masks[..., 1:, 1:].mean(dim=(2, 3)).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]] * 2 + [
        [0, 1, 1],
        [1, 0, 1],
    ]
    assert not masks[..., 0, 0].any()  # which nothing covers


def test_validation_scores_the_average_of_the_weights(build_trainer, showers, tmp_path) -> None:
    trainer = build_trainer(tmp_path, epochs=1, lr=2e-2, ema_decay=0.9)
    row = trainer.fit(showers(), showers(), StopRequest())[0]
    assert row["validation_loss"] == pytest.approx(
        validation_loss(trainer.averaged, showers()), rel=1e-5
    )
    assert row["validation_loss"] != pytest.approx(
        validation_loss(trainer.model, showers()), rel=1e-2
    )


def test_without_an_average_validation_scores_the_weights(build_trainer, showers, tmp_path) -> None:
    trainer = build_trainer(tmp_path, epochs=1, lr=2e-2, ema_decay=0.0)
    row = trainer.fit(showers(), showers(), StopRequest())[0]
    assert row["validation_loss"] == pytest.approx(
        validation_loss(trainer.model, showers()), rel=1e-5
    )
    assert read_checkpoint(tmp_path / "last.pt")["ema"] is None


def test_the_average_of_the_weights_by_hand(build_trainer, showers, tmp_path) -> None:
    """The first step's weights, then 0.9 of the average and 0.1 of the weights."""
    trainer = build_trainer(tmp_path, ema_decay=0.9)
    windows = showers()
    expected = None
    for batch in trainer._load(windows, [[pick] for pick in windows.epoch(0)[:3]]):
        trainer.steps.take(batch)
        weights = [p.detach().clone() for p in trainer.model.parameters()]
        expected = (
            weights
            if expected is None
            else [0.9 * e + 0.1 * w for e, w in zip(expected, weights, strict=True)]
        )
    for average, by_hand in zip(trainer.averaged.module.parameters(), expected, strict=True):
        torch.testing.assert_close(average, by_hand)


# ---- stopping and going on


@pytest.fixture(scope="module")
def uninterrupted():
    """The outcome of three epochs in one go, made by the first test that asks for it."""
    return {}


def run_whole(uninterrupted, build_trainer, showers, folder):
    if not uninterrupted:
        build_trainer(folder / "whole", schedule="cosine").fit(showers(), showers(), StopRequest())
        uninterrupted.update(
            {name: outcome(folder / "whole", name) for name in ("last.pt", "best.pt")}
        )
    return uninterrupted


@pytest.mark.parametrize("call", [1, 3, 4, 6, CALLS, CALLS + 1, 2 * CALLS + 2, 3 * CALLS])
def test_a_stopped_run_ends_with_the_bits_of_one_that_was_not(
    call, uninterrupted, build_trainer, showers, tmp_path
) -> None:
    """Stopped in mid-epoch, after an epoch's last training step, in validation, and at its end."""
    stop = StopRequest()

    def request(value):
        stop(signal.SIGTERM, None)
        return value

    stopped = build_trainer(tmp_path, schedule="cosine", loss=Scripted(call, request))
    with pytest.raises(Interrupted) as interrupt:
        stopped.fit(showers(), showers(), stop)
    assert interrupt.value.exit_code == 143
    progress = read_checkpoint(tmp_path / "last.pt")["progress"]
    assert (progress["epoch"], progress["step"]) == (
        (call - 1) // CALLS,
        min((call - 1) % CALLS + 1, 4),
    )

    resumed = build_trainer(tmp_path, schedule="cosine")
    resumed.restore(read_checkpoint(tmp_path / "last.pt"))
    resumed.fit(showers(), showers(), StopRequest())
    whole = run_whole(uninterrupted, build_trainer, showers, tmp_path)
    for name in ("last.pt", "best.pt"):
        assert_same(outcome(tmp_path, name), whole[name])
    assert len(rows(tmp_path)) == 3


@pytest.mark.parametrize("call", [2, 4, 6, 10, CALLS + 5])
def test_a_stopped_run_from_trained_weights_ends_with_the_bits_of_one_that_was_not(
    call, build_trainer, showers, tmp_path, caplog
) -> None:
    """Stopped before training, in mid-epoch, in validation, and in the second epoch."""

    def from_trained(folder, **others):
        trainer = build_trainer(folder, schedule="cosine", epochs=2, **others)
        trainer.starts_trained = True
        return trainer

    from_trained(tmp_path / "whole").fit(showers(), showers(), StopRequest())
    stop = StopRequest()

    def request(value):
        stop(signal.SIGTERM, None)
        return value

    with pytest.raises(Interrupted):
        from_trained(tmp_path, loss=Scripted(call, request)).fit(showers(), showers(), stop)
    caplog.set_level("INFO")
    resumed = from_trained(tmp_path)
    resumed.restore(read_checkpoint(tmp_path / "last.pt"))
    resumed.fit(showers(), showers(), StopRequest())
    for name in ("last.pt", "best.pt"):
        assert_same(outcome(tmp_path, name), outcome(tmp_path / "whole", name))
    assert [row["epoch"] for row in rows(tmp_path)] == [0, 1, 2]
    scored = [one for one in caplog.messages if one.startswith("before training")]
    assert len(scored) == (call <= 4)  # once scored, not again


@pytest.mark.parametrize("call", [CALLS + 1, CALLS + 3, 2 * CALLS + 7])
def test_a_killed_run_goes_on_from_the_end_of_an_epoch(
    call, uninterrupted, build_trainer, showers, tmp_path
) -> None:
    def kill(value):
        raise Killed

    with pytest.raises(Killed):
        build_trainer(tmp_path, schedule="cosine", loss=Scripted(call, kill)).fit(
            showers(), showers(), StopRequest()
        )
    saved = read_checkpoint(tmp_path / "last.pt")
    assert (saved["progress"]["epoch"], saved["progress"]["step"]) == (call // CALLS, 0)
    resumed = build_trainer(tmp_path, schedule="cosine")
    resumed.restore(saved)
    resumed.fit(showers(), showers(), StopRequest())
    assert_same(
        outcome(tmp_path), run_whole(uninterrupted, build_trainer, showers, tmp_path)["last.pt"]
    )


def test_a_run_killed_while_it_saves_loses_no_row_of_its_metrics(
    build_trainer, showers, tmp_path, monkeypatch
) -> None:
    trainer = build_trainer(tmp_path, epochs=1)
    save = trainer.save
    monkeypatch.setattr(
        trainer,
        "save",
        lambda path: save(path) if path.name == "best.pt" else (_ for _ in ()).throw(Killed),
    )
    with pytest.raises(Killed):
        trainer.fit(showers(), showers(), StopRequest())
    assert not (tmp_path / "last.pt").exists()
    assert [row["epoch"] for row in rows(tmp_path)] == [1]


def test_the_random_numbers_go_on_where_they_were(build_trainer, tmp_path) -> None:
    trainer = build_trainer(tmp_path)
    trainer.save(tmp_path / "last.pt")
    expected = torch.rand(3)
    trainer.restore(read_checkpoint(tmp_path / "last.pt"))
    assert torch.equal(torch.rand(3), expected)


def test_a_finished_run_asked_again_does_no_work(build_trainer, showers, tmp_path) -> None:
    build_trainer(tmp_path).fit(showers(), showers(), StopRequest())
    before = {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()
    }

    def never(value):
        raise AssertionError

    again = build_trainer(tmp_path, loss=Scripted(1, never))
    again.restore(read_checkpoint(tmp_path / "last.pt"))
    assert len(again.fit(showers(), showers(), StopRequest())) == 3
    assert {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()
    } == before


def test_a_finished_run_given_more_epochs_goes_on(build_trainer, showers, tmp_path) -> None:
    build_trainer(tmp_path, epochs=1).fit(showers(), showers(), StopRequest())
    more = build_trainer(tmp_path, epochs=3)
    more.restore(read_checkpoint(tmp_path / "last.pt"))
    assert [row["epoch"] for row in more.fit(showers(), showers(), StopRequest())] == [1, 2, 3]


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.9), (0.9, 0.0)])
def test_the_average_may_be_switched_on_or_off_between_runs(
    before, after, build_trainer, showers, tmp_path
) -> None:
    build_trainer(tmp_path, epochs=1, ema_decay=before).fit(showers(), showers(), StopRequest())
    saved = read_checkpoint(tmp_path / "last.pt")
    trainer = build_trainer(tmp_path, epochs=2, ema_decay=after)
    trainer.restore(saved)
    model = trainer.averaged.module if after else trainer.model
    assert_same(dict(model.state_dict()), dict(saved["weights"]))
    assert len(trainer.fit(showers(), showers(), StopRequest())) == 2


@pytest.mark.parametrize(("schedule", "told"), [("cosine", True), ("constant", False)])
def test_a_schedule_that_is_stretched_is_told_with_the_rates(
    schedule, told, build_trainer, showers, tmp_path, caplog
) -> None:
    """Two epochs end a cosine at 0.1 of 0.01; of four epochs, after two steps of warm-up, step
    8 of 16 is at 0.1 + 0.45 (1 + cos(6π / 14)).
    """
    habits = {"schedule": schedule, "lr": 0.01}
    build_trainer(tmp_path, epochs=2, **habits).fit(showers(), showers(), StopRequest())
    checkpoint = read_checkpoint(tmp_path / "last.pt")
    for epochs in (2, 4):
        more = build_trainer(tmp_path, epochs=epochs, **habits)
        more.restore(checkpoint)
        caplog.clear()
        say_what_changed(more, checkpoint, [])
        rate = 0.01 * (0.1 + 0.45 * (1 + math.cos(6 * math.pi / 14)))
        line = (
            f"the learning rate goes on at {rate:.3g}, after 0.001: not as in one training of 4"
            " epochs"
        )
        assert [line in record.message for record in caplog.records] == [True] * (
            told and epochs == 4
        )


def test_other_frames_than_those_of_the_checkpoint_are_told(
    build_trainer, tmp_path, caplog
) -> None:
    trainer = build_trainer(tmp_path)
    trainer.data = {"sha256": "a"}
    trainer.save(tmp_path / "last.pt")
    checkpoint = read_checkpoint(tmp_path / "last.pt")
    for digest in ("a", "b"):
        trainer.data = {"sha256": digest}
        say_what_changed(trainer, checkpoint, [])
        assert ["resuming with other data" in record.message for record in caplog.records] == [
            True
        ] * (digest == "b")


# ---- feeding true frames back


def guides_of(trainer):
    """The guide of every step of a run, as whether each frame is true, (b, lead); trained as
    ever.
    """
    seen = []
    step = trainer.steps.take
    trainer.steps.take = lambda batch, guide: seen.append(guide) or step(batch, guide)
    return seen


def test_the_share_of_true_frames_falls_in_equal_parts() -> None:
    assert [linear_share(1.0, 0.0, step, 5) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert linear_share(0.3, 0.7, 0, 1) == 0.3


def test_at_a_share_of_1_all_frames_are_true_and_at_0_at_the_end_none(
    build_trainer, showers, tmp_path
) -> None:
    trainer = build_trainer(tmp_path, kind="feedback", epochs=2, scheduled_sampling=[1, 0])
    guides = guides_of(trainer)
    windows = showers()
    trainer.fit(windows, windows, StopRequest())
    assert len(guides) == 8
    first = build_batch(
        torch.stack([windows[pick] for pick in windows.epoch(0)[:2]]),
        windows.scaling,
        windows.input_steps,
    )
    assert torch.equal(guides[0], first.future)
    assert guides[-1].isnan().all()


def test_a_missing_frame_is_not_fed_back_as_dry(build_trainer, showers, tmp_path) -> None:
    trainer = build_trainer(tmp_path, kind="feedback", epochs=1, scheduled_sampling=[1, 1])
    windows = showers()
    raw = torch.stack([windows[pick] for pick in windows.epoch(0)[:2]])
    raw[1, windows.input_steps] = torch.nan
    guide = trainer._guide(build_batch(raw, windows.scaling, windows.input_steps), 4)
    assert guide[1, 0].isnan().all()
    assert not guide[0].isnan().any() and not guide[1, 1:].isnan().any()


def test_frames_are_drawn_one_by_one_by_their_share_and_each_is_whole(
    build_trainer, showers, tmp_path
) -> None:
    """Of 2000 draws at 0.5 to 0.75, at 0.625 in the mean, 1250 ± 22 are true."""
    trainer = build_trainer(
        tmp_path, kind="feedback", epochs=1, batch_size=100, scheduled_sampling=[0.5, 0.75]
    )
    guides = guides_of(trainer)
    trainer.fit(showers(1000), showers(), StopRequest())
    true = ~torch.cat(guides).isnan()
    assert true.shape == (1000, 2, 1, 8, 8)
    assert (true.all(dim=(2, 3, 4)) == true.any(dim=(2, 3, 4))).all()
    drawn = true[:, :, 0, 0, 0]
    assert abs(drawn.sum().item() - 1250) < 5 * 22
    # 0.39: drawn apart from each other
    assert 0.2 < (drawn[:, 0] & drawn[:, 1]).float().mean() < 0.6


def test_a_share_of_1_is_teacher_forcing(build_trainer, showers, tmp_path) -> None:
    trainer = build_trainer(
        tmp_path, kind="feedback", epochs=1, scheduled_sampling=[1, 1], ema_decay=0.0
    )
    trainer.fit(showers(), showers(), StopRequest())
    forced = build_trainer(tmp_path, kind="feedback", epochs=1, ema_decay=0.0)
    for batch in forced._load(showers(), [showers().epoch(0)[k : k + 2] for k in range(0, 8, 2)]):
        forced.steps.take(batch, batch.future)
    assert_same(dict(trainer.model.state_dict()), dict(forced.model.state_dict()))


@pytest.mark.parametrize("kind", ["unconditional", "feedback"])
def test_where_no_true_frame_is_ever_fed_back_nothing_is_drawn(
    kind, build_trainer, showers, tmp_path
) -> None:
    trainer = build_trainer(tmp_path, kind=kind, epochs=1)
    guides = guides_of(trainer)
    before = torch.get_rng_state()
    trainer._train_epoch(showers(), StopRequest())
    assert guides == [None] * 4
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_sees_no_true_frame(build_trainer, showers, tmp_path) -> None:
    trainer = build_trainer(
        tmp_path, kind="feedback", epochs=1, scheduled_sampling=[1, 1], ema_decay=0.0
    )
    calls = []
    trainer.model.register_forward_pre_hook(
        lambda model, inputs: calls.append((model.training, len(inputs)))
    )
    trainer.fit(showers(), showers(), StopRequest())
    assert set(calls) == {(True, 3), (False, 2)}


@pytest.fixture(scope="module")
def guided():
    """The outcome of two epochs in one go, of each kind of model, made by the first test that
    asks for it.
    """
    return {}


@pytest.mark.parametrize("call", [2, 6, CALLS + 3])
@pytest.mark.parametrize("kind", ["feedback", "next_frame"])
def test_with_true_frames_drawn_a_stopped_run_ends_with_the_bits_of_one_that_was_not(
    kind, call, guided, build_trainer, showers, tmp_path
) -> None:
    """With the running averages of batch normalisation, too."""
    stop = StopRequest()

    def request(value):
        stop(signal.SIGTERM, None)
        return value

    habits = {"kind": kind, "scheduled_sampling": [0.9, 0.1], "epochs": 2}
    if kind not in guided:
        build_trainer(tmp_path / "whole", **habits).fit(showers(), showers(), StopRequest())
        guided[kind] = outcome(tmp_path / "whole")
    with pytest.raises(Interrupted):
        build_trainer(tmp_path, loss=Scripted(call, request), **habits).fit(
            showers(), showers(), stop
        )
    resumed = build_trainer(tmp_path, **habits)
    resumed.restore(read_checkpoint(tmp_path / "last.pt"))
    resumed.fit(showers(), showers(), StopRequest())
    assert_same(outcome(tmp_path), guided[kind])


def test_the_average_of_the_weights_has_the_running_averages_of_the_model(
    build_trainer, showers, tmp_path
) -> None:
    trainer = build_trainer(tmp_path, kind="next_frame", epochs=1, scheduled_sampling=[1, 1])
    trainer.fit(showers(), showers(), StopRequest())
    averaged, model = (
        dict(trainer.averaged.module.named_buffers()),
        dict(trainer.model.named_buffers()),
    )
    assert averaged.keys() == model.keys() and model["norms.0.num_batches_tracked"] == 4
    assert_same(averaged, model)


# ---- what must not be spoilt


def test_a_loss_that_is_not_a_number_ends_the_run_and_leaves_what_was_saved(
    build_trainer, showers, tmp_path
) -> None:
    trainer = build_trainer(
        tmp_path, loss=Scripted(2 * CALLS + 3, lambda value: value * NAN), ema_decay=0.0
    )
    saved = {}
    finish = trainer._finish_epoch
    trainer._finish_epoch = lambda row: (
        finish(row),
        saved.update({p.name: p.read_bytes() for p in tmp_path.iterdir()}),
    )
    with pytest.raises(
        InternalError,
        match=r"not finite in epoch 3, step 3; the last good checkpoint is .*last\.pt",
    ):
        trainer.fit(showers(), showers(), StopRequest())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == saved
    again = build_trainer(tmp_path, ema_decay=0.0)
    again.restore(read_checkpoint(tmp_path / "last.pt"))
    assert [row["epoch"] for row in again.fit(showers(), showers(), StopRequest())] == [1, 2, 3]


def test_an_infinite_loss_before_any_checkpoint_says_that_there_is_none(
    build_trainer, showers, tmp_path
) -> None:
    trainer = build_trainer(tmp_path, loss=Scripted(1, lambda value: value / 0))
    with pytest.raises(
        InternalError, match=r"not finite in epoch 1, step 1; no checkpoint has been written yet"
    ):
        trainer.fit(showers(), showers(), StopRequest())
    assert list(tmp_path.iterdir()) == []


def test_a_gradient_that_is_not_a_number_never_reaches_the_weights(
    build_trainer, showers, tmp_path
) -> None:
    """The loss of the step is finite; and a stop is asked for at the same moment, which would
    save.
    """
    stop = StopRequest()

    def break_and_stop(value):
        stop(signal.SIGTERM, None)
        return value + (value - value.detach()).sqrt()

    trainer = build_trainer(tmp_path, loss=Scripted(CALLS + 2, break_and_stop))
    with pytest.raises(
        InternalError, match=r"gradient is not finite in epoch 2, step 2; the last good"
    ):
        trainer.fit(showers(), showers(), stop)
    assert all(p.isfinite().all() for p in trainer.model.parameters())
    assert read_checkpoint(tmp_path / "last.pt")["progress"]["epoch"] == 1


def test_weights_that_are_not_numbers_never_become_a_checkpoint(
    build_trainer, showers, tmp_path
) -> None:
    def spoil(value):
        trainer.averaged.module.output.bias.fill_(NAN)
        return value

    # after the last step of training
    trainer = build_trainer(tmp_path, loss=Scripted(CALLS + 5, spoil))
    with pytest.raises(InternalError, match="validation loss became nan in epoch 2"):
        trainer.fit(showers(), showers(), StopRequest())
    for name in ("best.pt", "last.pt"):
        checkpoint = read_checkpoint(tmp_path / name)
        assert checkpoint["progress"]["epoch"] == 1
        assert all(
            value.isfinite().all()
            for value in [*checkpoint["weights"].values(), *checkpoint["ema"].values()]
        )
    assert len(rows(tmp_path)) == 1


# ---- the best epoch, and when to stop looking for a better one


def scripted_validation(trainer, losses, csis=None):
    """Validation that gives these scores, one epoch after the other."""
    scores = iter(zip(losses, csis or [NAN] * len(losses), strict=True))

    def validate(windows, stop):
        value, skill = next(scores)
        return {"validation_loss": value, "validation_csi": skill}

    trainer._validate = validate
    return trainer


def test_training_stops_after_patience_epochs_without_improvement(
    build_trainer, showers, tmp_path
) -> None:
    trainer = scripted_validation(
        build_trainer(tmp_path, epochs=10, patience=3), [5.0, 4.0, 4.5, 4.0, 4.1, 1.0, 1.0]
    )
    history = trainer.fit(showers(), showers(), StopRequest())
    # 4.0 again is no improvement
    assert [row["validation_loss"] for row in history] == [5.0, 4.0, 4.5, 4.0, 4.1]
    again = scripted_validation(build_trainer(tmp_path, epochs=10, patience=3), [])
    again.restore(read_checkpoint(tmp_path / "last.pt"))
    assert len(again.fit(showers(), showers(), StopRequest())) == 5


@pytest.mark.parametrize(("monitor", "epoch"), [("loss", 2), ("csi", 3)])
def test_the_best_checkpoint_is_that_of_the_best_epoch(
    monitor, epoch, build_trainer, showers, tmp_path
) -> None:
    trainer = build_trainer(tmp_path, epochs=4, monitor=monitor)
    scripted_validation(trainer, [5.0, 3.0, 4.0, 4.0], [0.1, 0.2, 0.3, 0.25])
    weights = {}
    finish = trainer._finish_epoch
    trainer._finish_epoch = lambda row: (
        weights.update({row["epoch"]: trainer.model.output.weight.detach().clone()}),
        finish(row),
    )
    trainer.fit(showers(), showers(), StopRequest())
    assert torch.equal(
        read_checkpoint(tmp_path / "best.pt")["weights"]["output.weight"], weights[epoch]
    )
    assert torch.equal(
        read_checkpoint(tmp_path / "last.pt")["weights"]["output.weight"], weights[4]
    )
    assert not torch.equal(weights[epoch], weights[4])


@pytest.mark.parametrize(
    "csis",
    [[NAN] * 6, [0.0] * 6, [NAN, 0.0, NAN, 0.0, 0.0, NAN], [0.25] * 6],
    ids=["undefined", "zero", "one or the other", "constant"],
)
def test_where_the_csi_says_nothing_the_loss_chooses_and_patience_waits_for_it(
    csis, build_trainer, showers, tmp_path, caplog
) -> None:
    trainer = build_trainer(tmp_path, epochs=6, monitor="csi", patience=2)
    scripted_validation(trainer, [6.0, 5.0, 4.0, 3.0, 2.0, 2.5], csis)
    history = trainer.fit(showers(), showers(), StopRequest())
    assert len(history) == 6
    assert read_checkpoint(tmp_path / "best.pt")["progress"]["epoch"] == trainer.best["epoch"] == 5
    assert decided_by_loss(history, trainer.best, "csi") == 5
    undefined = [
        record.message for record in caplog.records if "so their CSI is undefined" in record.message
    ]
    assert len(undefined) == math.isnan(csis[0])


def test_a_higher_csi_is_better_whatever_the_loss_and_a_monitored_loss_whatever_the_csi() -> None:
    low, high = (
        {"validation_loss": 1.0, "validation_csi": 0.2},
        {"validation_loss": 2.0, "validation_csi": 0.3},
    )
    assert rank(high, "csi") > rank(low, "csi")
    assert rank(low, "loss") > rank(high, "loss")
    assert (
        decided_by_loss([low, high], high, "csi") == decided_by_loss([low, low], low, "loss") == 0
    )


@pytest.mark.parametrize(
    ("losses", "best", "epochs"), [([2.0, 3.0, 2.0], 0, 2), ([2.0, 3.0, 1.0, 1.5, 1.5], 2, 4)]
)
def test_trained_weights_compete_with_every_epoch(
    losses, best, epochs, build_trainer, showers, tmp_path, caplog
) -> None:
    caplog.set_level("INFO")
    habits = {"epochs": 6, "patience": 2, "monitor": "loss"}
    trainer = scripted_validation(build_trainer(tmp_path, **habits), losses)
    trainer.starts_trained = True
    before = [one.detach().clone() for one in trainer.model.parameters()]
    history = trainer.fit(showers(), showers(), StopRequest())
    assert [row["epoch"] for row in history] == [*range(1, epochs + 1)]
    assert "before training: validation loss 2, validation CSI undefined" in caplog.messages
    kept = read_checkpoint(tmp_path / "best.pt")
    assert (kept["best_epoch"], kept["progress"]["epoch"]) == (best, best)
    same = [
        torch.equal(one, was) for one, was in zip(kept["weights"].values(), before, strict=True)
    ]
    assert all(same) == (best == 0)
    again = scripted_validation(build_trainer(tmp_path, **habits), [])
    again.starts_trained = True
    again.restore(read_checkpoint(tmp_path / "last.pt"))
    assert (again.best["epoch"], again.start["validation_loss"]) == (best, 2.0)
    assert len(again.fit(showers(), showers(), StopRequest())) == epochs  # it stays stalled


def test_the_best_epoch_is_known_after_a_stop(build_trainer, showers, tmp_path) -> None:
    habits = {"epochs": 8, "monitor": "csi", "patience": 3}
    first = scripted_validation(
        build_trainer(tmp_path, **habits | {"epochs": 3}), [3.0, 1.0, 2.0], [0.0] * 3
    )
    first.fit(showers(), showers(), StopRequest())
    again = scripted_validation(build_trainer(tmp_path, **habits), [2.0, 2.0, 2.0], [NAN, 0.0, 0.0])
    again.restore(read_checkpoint(tmp_path / "last.pt"))
    assert again.best["epoch"] == 2
    # three without improvement since the second
    assert len(again.fit(showers(), showers(), StopRequest())) == 5
    assert read_checkpoint(tmp_path / "best.pt")["progress"]["epoch"] == 2


def test_a_checkpoint_that_does_not_name_its_best_epoch_kept_the_first_of_equal_csi(
    build_trainer, showers, tmp_path
) -> None:
    trainer = scripted_validation(
        build_trainer(tmp_path, epochs=3, monitor="csi"), [3.0, 2.0, 1.0], [NAN, 0.1, 0.1]
    )
    trainer.fit(showers(), showers(), StopRequest())
    checkpoint = read_checkpoint(tmp_path / "last.pt")
    assert checkpoint.pop("best_epoch") == 3
    again = build_trainer(tmp_path, epochs=4, monitor="csi")
    again.restore(checkpoint)
    assert again.best["epoch"] == 2


def test_the_validation_csi_is_the_mean_over_what_was_observed_in_every_epoch_the_same() -> None:
    """One hit and one miss at 0.5 mm/h, 1 / 2; a false alarm at 30 mm/h, which nothing observed
    reaches, adds no term.
    """
    from nowcast.verification.counts import count

    observed = torch.tensor([[[1.0, 1.0, 0.0]]])
    for forecast in (1.0, 40.0):
        assert mean_csi(count(torch.tensor([[[forecast, 0.0, 0.0]]]), observed, [0.5, 30.0])) == 0.5
    assert mean_csi(count(torch.tensor([[[0.0, 0.0, 0.0]]]), observed, [0.5, 30.0])) == 0.0
    for forecast in (0.0, 40.0):
        assert math.isnan(
            mean_csi(count(torch.tensor([[[forecast]]]), torch.tensor([[[0.0]]]), [0.5, 30.0]))
        )
    assert math.isnan(mean_csi(Counts.zeros([0.5], 1)))


# ---- what is told


def test_there_is_a_row_of_metrics_for_every_epoch(build_trainer, showers, tmp_path) -> None:
    history = build_trainer(tmp_path).fit(showers(), showers(), StopRequest())
    assert rows(tmp_path) == history
    assert [row["epoch"] for row in history] == [1, 2, 3]
    names = {
        "epoch", "train_loss", "validation_loss", "validation_csi", "learning_rate", "seconds",
        "loading_seconds",
    }  # fmt: skip
    assert all(row.keys() == names and all(map(math.isfinite, row.values())) for row in history)


def test_the_train_loss_is_the_mean_over_the_steps(build_trainer, showers, tmp_path) -> None:
    trainer = build_trainer(tmp_path, epochs=1)
    losses = []
    step = trainer.steps.take
    trainer.steps.take = lambda batch, guide: losses.append(step(batch, guide)) or losses[-1]
    assert trainer.fit(showers(), showers(), StopRequest())[0]["train_loss"] == pytest.approx(
        float(sum(losses)) / 4
    )


def test_there_is_no_bar_in_a_log(build_trainer, showers, tmp_path, capfd) -> None:
    build_trainer(tmp_path, epochs=1).fit(showers(), showers(), StopRequest())
    assert capfd.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_there_is_a_bar_on_a_terminal(build_trainer, showers, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    build_trainer(tmp_path, epochs=1).fit(showers(), showers(), StopRequest())
    assert "epoch 1/1 train" in terminal.getvalue()
    assert "epoch 1/1 validate" in terminal.getvalue()


def test_the_bar_is_gone_before_an_error_is_told(
    build_trainer, showers, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    trainer = build_trainer(tmp_path, loss=Scripted(3, lambda value: value * NAN))
    try:
        trainer.fit(showers(), showers(), StopRequest())
    except InternalError:
        assert terminal.getvalue().split("\r")[-2].strip() == ""
        assert terminal.getvalue().endswith("\r")
    else:
        pytest.fail("the loss was not a number")


def test_kernels_are_compiled_for_the_whole_plan_however_much_of_it_is_left(
    build_trainer, showers, tmp_path, monkeypatch
):
    """So a resumed training computes the same bits."""
    planned = []

    @contextlib.contextmanager
    def note(batches):
        planned.append(batches)
        yield

    monkeypatch.setattr(loop, "planned_batches", note)
    trainer = build_trainer(tmp_path, epochs=3, batch_size=2)
    trainer.progress.epoch = 2
    trainer.fit(showers(5), showers(5), StopRequest())
    assert planned == [3 * 3]


# ---- a batch in parts


@pytest.mark.parametrize("accumulate", [2, 3, 9])
def test_a_batch_in_parts_trains_as_the_whole_one(
    accumulate, build_trainer, showers, tmp_path
) -> None:
    """Windows of which each has more missing pixels than the one before it, so that the mean of the
    parts' means is not that of the whole.
    """

    class Gappy(showers):
        def __getitem__(self, pick):
            rates = super().__getitem__(pick)
            rates[..., : pick.start] = torch.nan
            return rates

    whole, parts = (
        build_trainer(tmp_path / str(k), batch_size=4, accumulate=k) for k in (1, accumulate)
    )
    histories = [one.fit(Gappy(), Gappy(), StopRequest()) for one in (whole, parts)]
    for one, other in zip(*histories, strict=True):
        for name in ("train_loss", "validation_loss"):
            assert one[name] == pytest.approx(other[name], rel=1e-5)
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_losses_are_read_from_a_device_only_at_the_steps_that_are_shown(
    build_trainer, showers, tmp_path, monkeypatch
) -> None:
    """As on a GPU, which would be waited for: 8 steps, of which every third is read, and the
    last.
    """
    monkeypatch.setattr(Steps, "are_read_at_once", False)
    trainer = build_trainer(tmp_path, epochs=1, batch_size=1, log_every=3)
    usual = build_trainer(tmp_path / "usual", epochs=1, batch_size=1)
    read, steps = trainer._read_losses, []
    trainer._read_losses = lambda: steps.append(len(trainer._unread)) or read()
    monkeypatch.setattr(
        trainer, "_validate", lambda *_: {"validation_loss": 1, "validation_csi": 1}
    )
    history = trainer.fit(showers(), showers(), StopRequest())
    monkeypatch.undo()
    assert steps == [3, 3, 2]
    expected = usual.fit(showers(), showers(), StopRequest())
    assert history[0]["train_loss"] == expected[0]["train_loss"]


def test_a_loss_that_is_not_finite_is_told_with_its_step_though_it_is_read_later(
    build_trainer, showers, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(Steps, "are_read_at_once", False)
    loss = Scripted(2, lambda value: value * math.nan)
    trainer = build_trainer(tmp_path, batch_size=1, log_every=3, loss=loss)
    with pytest.raises(InternalError, match="epoch 1, step 2;"):
        trainer.fit(showers(), showers(), StopRequest())
    assert not (tmp_path / "last.pt").exists()


def test_a_signal_before_a_loss_is_read_saves_nothing_that_is_not_finite(
    build_trainer, showers, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(Steps, "are_read_at_once", False)
    stop = StopRequest()
    loss = Scripted(2, lambda value: stop(signal.SIGTERM, None) or value * math.nan)
    trainer = build_trainer(tmp_path, batch_size=1, log_every=50, loss=loss)
    with pytest.raises(InternalError, match="step 2"):
        trainer.fit(showers(), showers(), stop)
    assert not (tmp_path / "last.pt").exists()


def test_deterministic_operations_train_to_the_same_bits_twice(
    build_trainer, showers, tmp_path
) -> None:
    be_deterministic()
    try:
        for name in "ab":
            build_trainer(tmp_path / name, kind="feedback", epochs=1).fit(
                showers(), showers(), StopRequest()
            )
    finally:
        torch.use_deterministic_algorithms(False)
    assert_same(outcome(tmp_path / "a"), outcome(tmp_path / "b"))
