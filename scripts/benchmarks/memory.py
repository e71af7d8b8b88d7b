"""Measure memory and time of a training step: with every step of a sequence kept, and with gradient
checkpointing (training.checkpoint_segments).

    python scripts/benchmarks/memory.py [--model encoder_forecaster] [--precision bf16]
        [--sizes 128 256 512] [--lead-steps 12 24]

Each step has one window with five input frames. Each cell of the table is measured in a separate
process: its peak memory less the memory before the first step, and the seconds of the second step.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nowcast import startup
from nowcast.cli.schemas import register_schemas
from nowcast.commands.train import build_trainer
from nowcast.config.effects import configs_folder
from nowcast.model.unroll import in_segments
from nowcast.sequences.batch import build_batch
from nowcast.training.precision import choose_precision

INPUT_STEPS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="encoder_forecaster")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--sizes", nargs="+", type=int, default=[128, 256, 512])
    parser.add_argument("--lead-steps", nargs="+", type=int, default=[12, 24])
    parser.add_argument("--cell", nargs=3, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cell:
        print(json.dumps(step(given.model, given.precision, *given.cell)))
        return
    print(f"{given.model}, {given.precision}, {torch.get_num_threads()} threads")
    print("| pixels | lead steps | kept: GiB, s | in segments: GiB, s | memory, time |")
    print("|---|---|---|---|---|")
    for size in given.sizes:
        for lead_steps in given.lead_steps:
            kept, segmented = (
                in_a_process(given.model, given.precision, size, lead_steps, way) for way in (0, 1)
            )
            shares = [
                f"{other / one:.2f}" if one and other else "–"
                for one, other in zip(kept, segmented, strict=True)
            ]
            row = [f"{size}²", str(lead_steps), in_words(kept), in_words(segmented)]
            print(f"| {' | '.join([*row, ', '.join(shares)])} |", flush=True)


def in_words(cell: tuple[float, float]) -> str:
    return f"{cell[0]:.2f}, {cell[1]:.2f}" if cell[0] else "out of memory"


def in_a_process(*cell: str | int) -> tuple[float, float]:
    """Measure a cell in a separate process → GiB and seconds, zeros if memory runs out."""
    model, precision, *numbers = map(str, cell)
    words = ["--model", model, "--precision", precision, "--cell", *numbers]
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True)
    return tuple(json.loads(done.stdout)) if done.returncode == 0 else (0.0, 0.0)


def step(
    model: str, precision: str, size: int, lead_steps: int, segmented: int
) -> tuple[float, float]:
    """Measure a training step → GiB and seconds."""
    register_schemas()
    words = [f"model={model}", f"input_steps={INPUT_STEPS}", f"lead_steps={lead_steps}",
             "training.batch_size=1"]  # fmt: skip
    with initialize_config_dir(str(configs_folder()), version_base="1.3"):
        config = OmegaConf.to_object(compose("train", words))
    startup.reuse_memory(largest=2**20, kept=2**20)  # return freed memory at once
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(
            config, asdict(config), [0], choose_precision("cpu", precision), Path(folder)
        )
    rates = torch.rand(1, INPUT_STEPS + lead_steps, 1, size, size) * 10
    batch = build_batch(rates, config.scaling, INPUT_STEPS, trainer.inputs)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with in_segments(bool(segmented)):
        trainer.steps.take(batch)
        started = time.perf_counter()
        trainer.steps.take(batch)
    seconds = time.perf_counter() - started
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20, seconds


if __name__ == "__main__":
    main()
