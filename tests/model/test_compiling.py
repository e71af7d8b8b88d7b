"""When kernels are compiled, where they are kept, and that whatever hinders it costs time only."""

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nowcast.model import ConvLSTM, compiling, pointwise


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")  # so that what is set meanwhile is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def named():
    return Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]), Path(os.environ["TRITON_CACHE_DIR"])


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_compiled_kernels_are_kept_in_a_private_folder_of_the_user(home):
    compiling.keep_cache_private()
    inductor, triton = named()
    assert (inductor, triton) == (home / ".cache/nowcast/inductor", home / ".cache/nowcast/triton")
    assert [mode(path) for path in (inductor.parent, inductor, triton)] == 3 * [0o700]


def test_the_folder_of_caches_that_xdg_names_is_taken_where_it_is_absolute(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    assert compiling.private_folder() == home / "elsewhere/nowcast"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert compiling.private_folder() == home / ".cache/nowcast"


def test_a_folder_that_the_user_named_is_left_as_it_is(home, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/of/the/user")
    compiling.keep_cache_private()
    assert named() == (Path("/of/the/user"), home / ".cache/nowcast/triton")


def others_may_write(home):
    (home / ".cache/nowcast/inductor").mkdir(parents=True)
    (home / ".cache/nowcast").chmod(0o777)


def is_a_link(home):
    (home / ".cache").mkdir()
    (home / "target").mkdir()
    (home / ".cache/nowcast").symlink_to(home / "target")


def is_a_file(home):
    (home / ".cache").write_text("")


@pytest.mark.parametrize(
    "make", [others_may_write, is_a_link, is_a_file], ids=lambda make: make.__name__
)
def test_a_folder_that_is_not_private_is_not_used(home, make, caplog):
    make(home)
    with caplog.at_level(logging.INFO, logger="nowcast"):
        folder = compiling.private_folder()
    assert home not in folder.parents and mode(folder) == 0o700
    assert "cached for this process only" in caplog.text


def test_a_folder_of_another_user_is_not_used(home, monkeypatch):
    compiling.private_folder()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert home not in compiling.private_folder().parents


def test_without_a_home_a_folder_for_the_process_is_made_and_removed_at_its_end():
    code = (
        "from pathlib import Path\nfrom nowcast.model import compiling\ndef nobody(): raise"
        " RuntimeError('no home')\nPath.home = nobody\ncompiling.keep_cache_private()\nimport"
        " os\nprint(os.environ['TORCHINDUCTOR_CACHE_DIR'])"
    )
    environment = {
        k: v
        for k, v in os.environ.items()
        if k not in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME")
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    folder = Path(done.stdout.strip())
    assert folder.parent.name.startswith("nowcast-") and not folder.parent.exists()


@pytest.fixture
def never_compiled(monkeypatch):
    monkeypatch.setattr(pointwise, "_no_compiler", [])
    monkeypatch.setattr(pointwise, "_taken", [0])
    pointwise._compiled.cache_clear()
    torch.compiler.reset()
    yield
    pointwise._compiled.cache_clear()
    torch.compiler.reset()


@pytest.fixture
def kernels(monkeypatch, never_compiled):
    """How often kernels were wanted; those given are the operations in place."""
    wanted = []

    def compiled(*names):
        wanted.append(names)
        return pointwise.stepper(*names, torch.zeros(1), 1, training=False)

    monkeypatch.setattr(pointwise, "_compiled", pointwise.cache(compiled))
    return wanted


LARGE = torch.rand(1, 3, 1, 32, 32)
"""With 64 channels a state of 65,536 numbers, from which kernels are compiled."""


def test_one_forecast_never_waits_for_the_compiler_and_many_do_once(kernels, monkeypatch):
    layer = ConvLSTM(1, 64, 1)
    monkeypatch.setattr(pointwise, "COMPILED_AFTER", 9 * 2**16)  # three forecasts of three steps
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = []
        for _ in range(4):
            layer(LARGE)
            wanted.append(len(kernels))
    assert wanted == [0, 0, 1, 1]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_training_compiles_at_once_where_it_is_long_and_never_where_it_is_short(
    kernels, monkeypatch, precision
):
    layer = ConvLSTM(1, 64, 1)
    ten_batches_of_three_steps = 2 * 30 * 2**16  # there and back
    monkeypatch.setattr(pointwise, "COMPILED_AFTER", pointwise.LAYERS * ten_batches_of_three_steps)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        with pointwise.planned_batches(9):
            for _ in range(9):
                layer(LARGE)[0].float().sum().backward()
        assert not kernels
        with pointwise.planned_batches(10):
            layer(LARGE)[0].float().sum().backward()
    assert kernels == [("tanh", "sigmoid")]


def test_a_training_without_a_plan_compiles_once_it_was_long_there_and_back(kernels, monkeypatch):
    layer = ConvLSTM(1, 64, 1)
    monkeypatch.setattr(pointwise, "COMPILED_AFTER", 12 * 2**16)  # two batches there and back
    for wanted in (0, 1):
        layer(LARGE)[0].sum().backward()
        assert len(kernels) == wanted


@pytest.mark.filterwarnings("ignore")  # of what the compiler itself imports
@pytest.mark.parametrize(
    "hindrance", ["TORCH_COMPILE_DISABLE", "cache is a file", "cache cannot be made"]
)
def test_what_hinders_the_compiler_is_said_once_and_training_goes_on(
    never_compiled, hindrance, monkeypatch, tmp_path, caplog
):
    import torch._dynamo

    (tmp_path / "file").write_text("")
    cache = {
        "cache is a file": tmp_path / "file" / "cache",
        "cache cannot be made": Path("/proc/nowhere"),
    }
    if hindrance in cache:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache[hindrance]))
    layer = ConvLSTM(1, 64, 1)
    monkeypatch.setattr(pointwise, "COMPILED_AFTER", 1)
    with (
        torch._dynamo.config.patch(disable=hindrance not in cache),
        caplog.at_level(logging.INFO, logger="nowcast"),
        torch.autocast("cpu", torch.bfloat16),
    ):
        for _ in range(2):
            layer(LARGE)[0].float().sum().backward()
    said = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1 and "slower" in said[0].message
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.filterwarnings("ignore")  # of what the compiler itself imports
def test_a_layer_that_trains_compiles_for_grids_of_any_size(monkeypatch):
    """As far as Inductor decides how all is laid out in memory, where a view of unknown size
    failed; without its C++ compiler.
    """

    def laid_out(graph):
        raise ValueError("all is laid out")

    torch.compiler.reset()
    monkeypatch.setattr("torch._inductor.graph.GraphLowering.codegen", laid_out)
    compiled = torch.compile(ConvLSTM(1, 2, 3, peephole="none"), dynamic=True)
    with pytest.raises(Exception, match="all is laid out"):
        compiled(torch.rand(1, 2, 1, 4, 5))
    torch.compiler.reset()
