"""Measure the speed of the ConvLSTM.

Training steps and forecasts are compared with widely copied cells, in one process, in turn.

    make bench, or python scripts/benchmarks/layer.py [--work mnist radar large]
    [--precision fp32 bf16] [--threads 1 2] [--device cpu|cuda] [--rounds 7] [--batch 32]

Each round runs every contestant once, one after the other, so that other load on the machine
affects all alike. Ratios are computed within a round, and the table shows the median and the
quartiles over the rounds. The plain cell as published, in fp32 and not compiled, is 1. Every
contestant has two layers of 64 channels without peepholes over all steps. A training step is
forward and backward of the mean square of the output; a forecast is forward without gradients. The
limit is PyTorch's fastest convolutions without anything else. Compiling the plain cell takes
minutes the first time. Below the table the loss of our layer in bf16 is compared with that in fp32
after some training.

On a GPU, `--device cuda --work large --batch N` for N of 1, 8 and 32 takes some minutes. Look at:
ours in bf16 against the plain cell in fp32 (ten times as fast is the goal) and against the plain
cell compiled in bf16 (twice), the share of the convolution peak at N = 32 (40 %), and the two
losses (within 2 %).
"""

import argparse
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from nowcast.model import ConvLSTM
from nowcast.model.compiling import keep_cache_private
from nowcast.model.convolution import Shape, channels_last, convolution_gradients, many_times
from nowcast.model.pointwise import planned_batches

HIDDEN = 64
LONG = 10**6
"""Number of batches that the measurement represents; enough to make compiling worthwhile."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Work(NamedTuple):
    """The size of the task: batch, steps, channels, height and width of the frames after patching,
    and the kernel size.
    """

    b: int
    t: int
    c: int
    h: int
    w: int
    kernel: int


WORKS = {
    "mnist": Work(4, 10, 16, 16, 16, 5),  # 64×64 in patches of 4
    "radar": Work(2, 20, 4, 50, 50, 3),  # 100×100 in patches of 2, 5 + 15 frames
    "large": Work(1, 20, 16, 64, 64, 3),  # 256×256 in patches of 4
}


class PlainLayer(nn.Module):
    """As ndrplz/ConvLSTM_pytorch: one convolution over cat(x, h) at each step."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels + HIDDEN, 4 * HIDDEN, kernel, padding=kernel // 2)

    def forward(self, frames: Tensor) -> Tensor:
        b, t, _, h, w = frames.shape
        hidden = cell = torch.zeros(b, HIDDEN, h, w, device=frames.device)
        outputs = []
        for step in range(t):
            gates = self.conv(torch.cat([frames[:, step], hidden], dim=1))
            i, f, o, g = torch.split(gates, HIDDEN, dim=1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1)


class EightLayer(nn.Module):
    """As automan000/Convolutional_LSTM_PyTorch: eight convolutions at each step, and peepholes
    that stay at zero.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.x = nn.ModuleList(
            nn.Conv2d(channels, HIDDEN, kernel, padding=kernel // 2) for _ in range(4)
        )
        self.h = nn.ModuleList(
            nn.Conv2d(HIDDEN, HIDDEN, kernel, padding=kernel // 2, bias=False) for _ in range(4)
        )

    def forward(self, frames: Tensor) -> Tensor:
        b, t, _, h, w = frames.shape
        hidden = cell = torch.zeros(b, HIDDEN, h, w, device=frames.device)
        peephole = torch.zeros(1, HIDDEN, h, w, device=frames.device)
        outputs = []
        for step in range(t):
            x = frames[:, step]
            i = torch.sigmoid(self.x[0](x) + self.h[0](hidden) + cell * peephole)
            f = torch.sigmoid(self.x[1](x) + self.h[1](hidden) + cell * peephole)
            cell = f * cell + i * torch.tanh(self.x[2](x) + self.h[2](hidden))
            o = torch.sigmoid(self.x[3](x) + self.h[3](hidden) + cell * peephole)
            hidden = o * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1)


class ConvolutionsAlone:
    """Only the convolutions of every contestant, in the fastest memory layout: at each step one
    convolution over x and h together, and in training its gradients.
    """

    def __init__(self, work: Work, dtype: torch.dtype, device: str) -> None:
        self.t, self.shape = work.t, Shape((1, 1), "same", (1, 1))
        place = partial(torch.rand, device=device, dtype=dtype)
        grid = work.h, work.w
        self.layers = [
            tuple(
                channels_last(x)
                for x in (
                    place(work.b, channels + HIDDEN, *grid),
                    place(4 * HIDDEN, channels + HIDDEN, work.kernel, work.kernel),
                    place(work.b, 4 * HIDDEN, *grid),
                )
            )
            for channels in (work.c, HIDDEN)
        ]

    @torch.no_grad()
    def forecast(self) -> None:
        for x, weight, _ in self.layers:
            convolve = many_times(weight, None, self.shape, x.shape)
            for _ in range(self.t):
                convolve(x)

    def train(self) -> None:
        self.forecast()
        for layer, (x, weight, gradient) in enumerate(self.layers):
            # gradients of the frames themselves are not needed
            first = 0 if layer else x.shape[1] - HIDDEN
            h, weight_h = (channels_last(part[:, first:]) for part in (x, weight))
            for _ in range(self.t):
                convolution_gradients(gradient, h, weight_h, self.shape, (True, False, False))
                convolution_gradients(gradient, x, weight, self.shape, (False, True, False))


def build_ours(work: Work) -> nn.Module:
    return ConvLSTM(work.c, [HIDDEN, HIDDEN], work.kernel, peephole="none", return_state=False)


def build_stack(layer: Callable[[int, int], nn.Module], work: Work) -> nn.Module:
    return nn.Sequential(layer(work.c, work.kernel), layer(HIDDEN, work.kernel))


def build_keras(work: Work) -> nn.Module | None:
    """Return Keras' ConvLSTM2D on PyTorch, channels last as it prefers; None if Keras is not
    installed.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    try:
        import keras
    except ImportError:
        return None
    layers = [
        keras.layers.ConvLSTM2D(HIDDEN, work.kernel, padding="same", return_sequences=True)
        for _ in range(2)
    ]
    model = keras.Sequential([keras.Input((work.t, work.h, work.w, work.c)), *layers])
    return model  # type: ignore[no-any-return]


@dataclass
class Contestant:
    """A model in one precision, compiled or not."""

    name: str
    precision: str
    model: nn.Module
    frames: Tensor
    compiled: Callable[[Tensor], Tensor] | None = None

    def autocast(self) -> Any:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.frames.device.type, DTYPES[self.precision])

    def train(self) -> None:
        with self.autocast():
            output = (self.compiled or self.model)(self.frames)
        output.float().square().mean().backward()
        self.model.zero_grad()  # here, so that each run begins with the same memory

    @torch.no_grad()
    def forecast(self) -> None:
        with self.autocast():
            (self.compiled or self.model)(self.frames)

    @property
    def label(self) -> str:
        return f"{self.name}{', compiled' if self.compiled else ''}"

    def as_it_is(self) -> "Contestant":
        """Return the model not compiled, so that its operations can be counted."""
        return replace(self, compiled=None)


@dataclass
class Limit:
    """The limit that no contestant of this precision can exceed."""

    precision: str
    convolutions: ConvolutionsAlone
    label = "convolutions alone"

    def train(self) -> None:
        self.convolutions.train()

    def forecast(self) -> None:
        self.convolutions.forecast()

    def as_it_is(self) -> "Limit":
        return self


def contestants(work: Work, precisions: list[str], device: str) -> Iterator["Contestant | Limit"]:
    """Yield the contestants: first the plain cell in fp32, which is 1; the limit of each precision
    last.
    """
    frames = torch.rand(work.b, work.t, work.c, work.h, work.w, device=device)
    builders = {
        "plain cell": partial(build_stack, PlainLayer),
        "nowcast": build_ours,
        "eight convolutions": partial(build_stack, EightLayer),
    }
    for precision in precisions:
        for name, build in builders.items():
            torch.manual_seed(0)
            model = build(work).to(device)
            yield Contestant(name, precision, model, frames)
            if device == "cuda" or name == "plain cell":
                yield Contestant(name, precision, model, frames, torch.compile(model))
        yield Limit(precision, ConvolutionsAlone(work, DTYPES[precision], device))
    model = (
        build_keras(work) if device == "cuda" or not torch.cuda.is_available() else None
    )  # Keras takes the GPU where it sees one
    if model is not None:
        yield Contestant("Keras ConvLSTM2D", "fp32", model, frames.movedim(2, -1).contiguous())


def seconds(task: Callable[[], None], device: str) -> float:
    synchronise(device)
    started = time.perf_counter()
    task()
    synchronise(device)
    return time.perf_counter() - started


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak_bytes(task: Callable[[], None], device: str) -> int:
    """Return the peak of PyTorch's allocator during the task, beyond its size before."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        task()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        task()
    events = [
        event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"
    ]  # type: ignore[union-attr]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += int(event.nbytes())
        peak = max(peak, held)
    return peak


def peak_flops(precision: str, device: str) -> float:
    """Return the best rate of a few large convolutions, channels last, in operations per second:
    some CPUs convolve faster than they multiply matrices.
    """
    b, n, channels, kernel = 64 if device == "cuda" else 8, 64 if device == "cuda" else 32, 256, 3
    dtype = DTYPES[precision]
    frames = torch.rand(b, channels, n, n, device=device, dtype=dtype).contiguous(
        memory_format=torch.channels_last
    )
    layer = nn.Conv2d(channels, channels, kernel, padding=1, device=device, dtype=dtype).to(
        memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    operations = 2 * b * n**2 * channels**2 * kernel**2
    with torch.no_grad():
        return max(operations / seconds(lambda: layer(frames), device) for _ in range(20))


def flops(task: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        task()
    return counter.get_total_flops()


def measure(name: str, work: Work, arguments: argparse.Namespace) -> list[str]:
    """Rows of the table for one work."""
    those = list(contestants(work, arguments.precision, arguments.device))
    peaks = {
        precision: peak_flops(precision, arguments.device) for precision in arguments.precision
    }
    found = {}
    for kind in ("train", "forecast"):
        torch.compiler.reset()  # the compiler limits the number of kernels per function
        tasks = [getattr(one, kind) for one in those]
        operations = [flops(getattr(one.as_it_is(), kind)) for one in those]
        for task in tasks:
            task()  # the first run without a counter compiles
        memory = [peak_bytes(task, arguments.device) for task in tasks]
        rounds = []
        for _ in tqdm(range(arguments.rounds), f"{name} {kind}", disable=None, leave=False):
            rounds.append([seconds(task, arguments.device) for task in tasks])
        found[kind] = operations, memory, rounds
    limits = {one.precision: k for k, one in enumerate(those) if isinstance(one, Limit)}
    for precision, k in limits.items():  # some reach a higher rate than the large convolutions
        of_work = [
            operations[k] / min(times[k] for times in rounds)
            for operations, _, rounds in found.values()
        ]
        peaks[precision] = max(peaks[precision], *of_work)
    rows = []
    for kind, (operations, memory, rounds) in found.items():
        for k, one in enumerate(those):
            ratios = [times[0] / times[k] for times in rounds]
            low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            typical = statistics.median(times[k] for times in rounds)
            of_limit = statistics.median(
                times[limits[one.precision]] / times[k] for times in rounds
            )
            of_peak = operations[k] / typical / peaks[one.precision]
            rows.append(
                f"| {name} | {kind} | {one.label} | {one.precision} | {typical * 1e3:.0f} |"
                f" **{middle:.2f}** ({low:.2f}–{high:.2f}) | {memory[k] / memory[0]:.2f} |"
                f" {of_limit:.0%} | {of_peak:.0%} |"
            )
    return rows


def losses(work: Work, device: str, steps: int = 40) -> dict[str, float]:
    """Return the loss of our layer in each precision, after training some steps to forecast the
    next frames.
    """
    found = {}
    for precision, dtype in DTYPES.items():
        torch.manual_seed(0)
        model = nn.Sequential(build_ours(work), nn.Flatten(0, 1), nn.Conv2d(HIDDEN, work.c, 1))
        model.to(device)
        moving = torch.rand(work.b, 1, work.c, work.h, work.w, device=device)
        frames = torch.cat([moving.roll(k, dims=-1) for k in range(work.t + 1)], dim=1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast(device, dtype, enabled=precision != "fp32"):
                forecast = model(frames[:, :-1])
            loss = (forecast.float() - frames[:, 1:].flatten(0, 1)).square().mean()
            loss.backward()
            optimizer.step()
        found[precision] = loss.item()
    return found


def machine(device: str) -> str:
    """Return a one-line description of the machine."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
    else:
        cpu = Path("/proc/cpuinfo")
        facts = cpu.read_text() if cpu.exists() else ""
        name = facts.partition("model name\t: ")[2].partition("\n")[0] or platform.processor()
        units = [unit for unit in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if unit in facts]
        name += f", {torch.get_num_threads()} threads, {units[0] if units else 'no vector units'}"
    return f"{name}, PyTorch {torch.__version__}, {platform.system()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument(
        "--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"]
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument(
        "--threads", type=int, nargs="+", help="of a CPU; 1 and all where not given"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--batch", type=int, help="sequences in a batch, instead of each work's own"
    )
    arguments = parser.parse_args()
    threads = arguments.threads or sorted({1, torch.get_num_threads()})
    if arguments.device == "cpu" and len(threads) > 1:
        for number in threads:
            run_with(number)
        return
    torch.set_num_threads(threads[0])
    keep_cache_private()
    # PyTorch warns of each model that it cannot compile as a whole
    torch._logging.set_logs(dynamo=logging.ERROR)
    # fp32 is the reference
    arguments.precision = ["fp32", *(p for p in arguments.precision if p != "fp32")]
    print(
        f"{machine(arguments.device)}; median and quartiles of {arguments.rounds} rounds, larger is"
        " faster\n"
    )
    print(
        "| work | what | layer | precision | ms | speed | memory | limit's share of the time |"
        " share of convolution peak |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in arguments.work:
        work = WORKS[name]._replace(**({"b": arguments.batch} if arguments.batch else {}))
        with planned_batches(LONG):
            rows = measure(name, work, arguments)
        print("\n".join(rows), flush=True)
    found = losses(work, arguments.device)
    print(
        f"\nLoss of nowcast after 40 steps of {name}: {found['fp32']:.4f} in fp32,"
        f" {found['bf16'] / found['fp32']:.3f} times that in bf16."
    )


def run_with(threads: int) -> None:
    """Run this script with so many threads in a separate process: compiled kernels fix their
    number.
    """
    command = [sys.executable, __file__, *sys.argv[1:], "--threads", str(threads)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
