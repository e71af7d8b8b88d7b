"""What a configuration may name: values, and Hydra's own plugins.

Nothing of it is run, and nothing is unpickled.
"""

import os
import pickle
import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from nowcast.cli.trusted_hydra import refuse_code
from nowcast.errors import ConfigError
from nowcast.training.checkpoints import read_checkpoint, write_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of a user's YAML, and where code of it would leave a mark: here."""
    (tmp_path / "experiment").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def experiment(folder, text):
    (folder / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    return "train", "--config-dir", str(folder), "experiment=mine", "data.path=nowhere.nc"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hydra: null", "configuration: cannot be composed"),
        ("defaults: 5", "Invalid defaults list in 'experiment/mine'"),
    ],
)
def test_what_hydra_stumbles_over_is_a_fault_of_the_configuration(run, folder, text, says):
    outcome = run(*experiment(folder, text))
    assert outcome.code == 78, outcome.err
    assert outcome.err.startswith(f"nowcast: {says}") and len(outcome.err.splitlines()) == 1


CODE = {
    "callback": "hydra: {callbacks: {x: {_target_: os.mkdir, path: marker}}}",
    "callback of subprocess": (
        "hydra: {callbacks: {x: {_target_: subprocess.run, args: [mkdir, marker]}}}"
    ),
    "callback by interpolation": (
        "hydra: {help: {header: '{x: {_target_: os.mkdir, path: marker}}'},"
        " callbacks: '${oc.create:${hydra.help.header}}'}"
    ),
    "target by interpolation": (
        "hydra: {help: {header: os.mkdir}, callbacks: {x: {_target_: '${hydra.help.header}', path:"
        " marker}}}"
    ),
    "handler": "hydra: {job_logging: {handlers: {x: {class: os.mkdir, path: marker}}}}",
    "handler of hydra": "hydra: {hydra_logging: {handlers: {x: {class: os.mkdir, path: marker}}}}",
    "factory": "hydra: {job_logging: {handlers: {x: {(): os.mkdir, path: marker}}}}",
    "formatter": "hydra: {job_logging: {formatters: {x: {(): os.mkdir, path: marker}}}}",
    "formatter class": "hydra: {job_logging: {formatters: {x: {class: os.mkdir, format: marker}}}}",
    "filter": "hydra: {job_logging: {filters: {x: {(): os.mkdir, path: marker}}}}",
    "import": "hydra: {job_logging: {handlers: {console: {stream: 'ext://antigravity.fly'}}}}",
    "logging known late": (
        "hydra: {help: {header: '{x: {class: os.mkdir, path: \"${hydra.runtime.output_dir}\"}}'},"
        " job_logging: {handlers: '${oc.create:${hydra.help.header}}'}}"
    ),
    "launcher": "hydra: {launcher: {_target_: os.mkdir, path: marker}}",
    "sweeper": "hydra: {sweeper: {_target_: os.mkdir, path: marker}}",
    "environment": "hydra: {job: {env_set: {HDF5_PLUGIN_PATH: '.'}}}",
    "model": "model: {_target_: os.mkdir, path: marker}",
    "tag": "seed: !!python/object/apply:os.mkdir [marker]",
    "object": "seed: !!python/object/new:os.mkdir [marker]",
    "name": "seed: !!python/name:os.mkdir",
}


@pytest.mark.parametrize("text", CODE.values(), ids=CODE)
def test_code_in_a_file_of_a_user_is_refused_in_one_line_and_not_run(run, folder, text):
    outcome = run(*experiment(folder, text))
    assert outcome.code == 78, outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert "Traceback" not in outcome.err
    assert not Path("marker").exists()


@pytest.mark.parametrize(
    "word",
    [
        "+hydra.callbacks.x={_target_: os.mkdir, path: marker}",
        "+hydra.callbacks.x._target_=os.mkdir",
        "hydra.job_logging.handlers.console.class=os.mkdir",
        "+hydra.job.env_set.HDF5_PLUGIN_PATH=here",
        "+model._target_=os.mkdir",
    ],
)
def test_code_on_the_command_line_is_refused_too(run, folder, word):
    outcome = run("train", "data.path=nowhere.nc", word)
    assert (outcome.code, len(outcome.err.strip().splitlines())) == (78, 1)
    assert not Path("marker").exists()


def test_the_primary_file_of_a_user_is_looked_at_as_well(run, folder):
    (folder / "winter.yaml").write_text("defaults: [train, _self_]\n" + CODE["callback"])
    outcome = run(
        "train", "--config-dir", str(folder), "--config-name", "winter", "data.path=nowhere.nc"
    )
    assert (outcome.code, len(outcome.err.strip().splitlines())) == (78, 1)
    assert "hydra.callbacks.x._target_: 'os.mkdir' is code" in outcome.err


@pytest.mark.parametrize(
    "words",
    [
        ["hydra.searchpath=[pkg://bad_package]"],
        ["hydra.searchpath=[pkg://hydra.conf,pkg://bad_package.deeper]", "--cfg", "job"],
        ["--config-path", "pkg://bad_package"],
        ["--config-name", "winter"],
        ["--config-name", "summer"],
    ],
    ids=" ".join,
)
def test_a_package_is_no_place_of_configurations_and_is_not_imported(
    run, folder, words, monkeypatch
):
    # elsewhere than the working folder, from which nothing is imported anyway
    packages = folder / "packages"
    (packages / "bad_package").mkdir(parents=True)
    (packages / "bad_package" / "__init__.py").write_text("import os\nos.mkdir('marker')\n")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PLACE", "pkg://bad_package")
    (folder / "winter.yaml").write_text(
        "defaults: [train, _self_]\nhydra: {searchpath: ['pkg://bad_package']}\n"
    )
    (folder / "summer.yaml").write_text(
        "defaults: [train, _self_]\nhydra: {searchpath: ['${oc.env:PLACE}']}\n"
    )
    outcome = run("train", "data.path=nowhere.nc", *words, "--config-dir", str(folder))
    assert (outcome.code, len(outcome.err.strip().splitlines())) == (78, 1), outcome.err
    assert re.search(
        r"(hydra\.searchpath|--config-path): 'pkg://bad_package(\.deeper)?' is a package, which is"
        r" code",
        outcome.err,
    )
    assert not Path("marker").exists()


def test_a_folder_and_what_hydra_brings_are_places_of_configurations(run, folder):
    experiment(folder, "seed: 3")
    outcome = run(
        "train",
        f"hydra.searchpath=[file://{folder},pkg://hydra.conf]",
        "experiment=mine",
        "--cfg",
        "job",
    )
    assert outcome.code == 0, outcome.err
    assert "seed: 3\n" in outcome.out


def test_each_job_of_a_sweep_is_looked_at(run, folder):
    (folder / "experiment" / "good.yaml").write_text("# @package _global_\nseed: 3\n")
    words = experiment(folder, CODE["handler"])
    words = [word.replace("experiment=mine", "experiment=good,mine") for word in words]
    outcome = run(*words, "output=sweep", "-m")
    assert outcome.code == 78
    assert not Path("marker").exists()


class Hostile:
    """Unpickled, it would make a folder."""

    def __reduce__(self):
        return os.mkdir, ("marker",)


@pytest.mark.parametrize("option", ["--experimental-rerun", "--experimental", "--exp", "--e"])
@pytest.mark.parametrize("joined", [True, False])
def test_the_configuration_of_a_run_is_not_unpickled(run, folder, option, joined):
    (folder / "config.pickle").write_bytes(pickle.dumps(Hostile()))
    words = [f"{option}=config.pickle"] if joined else [option, "config.pickle"]
    outcome = run("train", *words)
    assert (outcome.code, len(outcome.err.strip().splitlines())) == (2, 1)
    assert not Path("marker").exists()


@pytest.mark.parametrize(
    "logging",
    ["{root: {level: DEBUG}}", "{handlers: {nothing: {class: logging.NullHandler}}}",
     "{handlers: {console: {class: logging.StreamHandler, stream: ext://sys.stdout}}}",
     "{formatters: {colour: {(): colorlog.ColoredFormatter}}}"],
)  # fmt: skip
def test_what_logging_needs_is_left_alone(logging):
    refuse_code(OmegaConf.create(f"hydra: {{job_logging: {logging}, job: {{env_set: {{}}}}}}"))


def test_the_plugins_of_hydra_and_our_callback_may_be_named(run, folder):
    outcome = run(
        "train",
        "hydra/launcher=basic",
        "hydra/sweeper=basic",
        "hydra/job_logging=stdout",
        "--cfg",
        "hydra",
    )
    assert outcome.code == 0
    assert "BasicLauncher" in outcome.out
    assert "RememberSweep" in outcome.out


def test_another_target_below_hydra_is_refused():
    with pytest.raises(
        ConfigError, match=r"hydra\.sweeper\.sampler\._target_: 'os\.system' is code"
    ):
        refuse_code(OmegaConf.create("hydra: {sweeper: {sampler: {_target_: os.system}}}"))
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.custom_search_space: .* a function"):
        refuse_code(OmegaConf.create("hydra: {sweeper: {custom_search_space: a.b}}"))


@pytest.mark.parametrize(
    "launcher",
    [
        "{partition: 'main\\nrm -r /'}",
        '{name: "a\\rb"}',
        "{additional_parameters: {'a\\nrm -r /': 1}}",
        "{additional_parameters: {'a b': 1}}",
    ],
)
def test_a_launcher_is_given_no_lines_for_a_shell(launcher):
    config = OmegaConf.create({"hydra": {"launcher": yaml.safe_load(launcher.replace("'", '"'))}})
    with pytest.raises(ConfigError, match=r"hydra\.launcher"):
        refuse_code(config)


def test_a_launcher_is_given_what_it_needs():
    words = (
        "{partition: main, timeout_min: 5, additional_parameters: {mail-type: END}, setup: null}"
    )
    refuse_code(OmegaConf.create(f"hydra: {{launcher: {words}}}"))


def test_nothing_in_the_package_unpickles_evaluates_or_reads_yaml_unsafely():
    """These words, and what they may stand for."""
    # of its own child
    allowed = {
        "checkpoints.py": set(),
        "trusted_hydra.py": set(),
        "isolation.py": {"pickle.load", "pickle.Unpickler"},
    }
    words = (
        "pickle.load",
        "pickle.Unpickler",
        "allow_pickle",
        "eval(",
        "exec(",
        "yaml.load",
        "unsafe_load",
        "weights_only=False",
        "shell=True",
    )
    for path in (ROOT / "nowcast").rglob("*.py"):
        text = path.read_text().replace(".eval()", "")
        found = [word for word in words if word in text and word not in allowed.get(path.name, ())]
        assert not found, f"{path}: {found}"
        assert "import pickle" not in text or path.name in allowed
        assert text.count("torch.load(") == text.count("weights_only=True")


def described_otherwise(trained, path, **changed):
    checkpoint = read_checkpoint(trained / "best.pt")
    config = checkpoint["config"]
    model = {**config["model"], **changed.pop("model", {})}
    write_checkpoint(path, {**checkpoint, "config": {**config, "model": model}, **changed})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": {"hidden_channels": [4, 8]}}, "its weights are those of another model"),
        # 1.4 TB of them
        ({"model": {"hidden_channels": [10**5, 10**5]}}, "its weights are those of another model"),
        ({"model": {"name": "fc_lstm"}}, "TypeError|KeyError|another model"),
        ({"model": {"name": "unheard_of"}}, "unheard_of"),
        ({"ema": None, "weights": {}}, "its weights are those of another model"),
        ({"ema": {"module.x": 3}}, "AttributeError"),
    ],
)
def test_a_checkpoint_that_describes_another_model_than_it_holds_is_refused(
    run, trained, radar_file, tmp_path, changed, said
):
    path = tmp_path / "other.pt"
    described_otherwise(trained, path, **changed)
    outcome = run(
        "predict",
        f"checkpoint={path}",
        "data=radar",
        f"data.path={radar_file}",
        f"output={tmp_path}/a.nc",
        "device=cpu",
    )
    assert (outcome.code, len(outcome.err.strip().splitlines())) == (65, 1), outcome.err
    assert re.search(
        rf"other\.pt: describes a model that this version cannot build \(.*({said})", outcome.err
    )
    assert not (tmp_path / "a.nc").exists()


def test_one_flipped_bit_of_a_checkpoint_ends_predict_in_one_line(
    run, trained, radar_file, tmp_path
):
    path = tmp_path / "other.pt"
    content = bytearray((trained / "best.pt").read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    outcome = run(
        "predict",
        f"checkpoint={path}",
        "data=radar",
        f"data.path={radar_file}",
        f"output={tmp_path}/a.nc",
        "device=cpu",
    )
    assert (outcome.code, len(outcome.err.strip().splitlines())) == (65, 1), outcome.err
    assert "other.pt: damaged (its checksum is wrong)" in outcome.err
