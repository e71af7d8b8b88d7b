"""Files come into being whole or not at all, whatever ends the process that writes them, and
one process writes at a time.
"""

import errno
import fcntl
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import netCDF4
import numpy as np
import pytest
import torch

from nowcast.errors import CannotCreateError, InputOutputError, Interrupted, TryLaterError
from nowcast.files import (
    is_written,
    leftovers,
    link_whole,
    make_folder,
    only_writer,
    refuse_unwritable,
    settled,
    written_together,
    written_whole,
)

Writer = Callable[[Path], None]
MEGABYTE = 2**20
LEFT = (".a.nc.0123abcd.tmp", ".together.00000000.tmp")
"""Names of what a killed process leaves; the second a folder."""
NOT_OURS = (".a.nc.0123abcg.tmp", "a.nc.0123abcd.tmp", ".a.nc.tmp", ".rsync.a1B2c3", ".hidden")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def as_text(path: Path) -> None:
    with open(path, "w") as file:
        file.write("x" * MEGABYTE)


def as_netcdf(path: Path) -> None:
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", MEGABYTE)
        file.createVariable("x", "u1", ("x",))[:] = np.random.default_rng(0).integers(
            0, 256, MEGABYTE, "u1"
        )


def as_checkpoint(path: Path) -> None:
    torch.save({"weights": torch.zeros(MEGABYTE // 4)}, path)


def as_array(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.zeros(MEGABYTE // 4, np.float32))


WRITERS = pytest.mark.parametrize("write", [as_text, as_netcdf, as_checkpoint, as_array])


@WRITERS
def test_what_is_being_written_is_private_and_what_is_written_is_not(
    write: Writer, tmp_path: Path, usual_umask: None
) -> None:
    path = tmp_path / "folder" / "a"
    with written_whole(path) as temporary:
        assert (
            temporary.parent.parent == path.parent
            and mode_of(temporary.parent) == 0o700
            and not path.exists()
        )
        born = temporary.stat()
        assert (stat.S_IMODE(born.st_mode), born.st_size) == (0o600, 0)
        write(temporary)
        assert os.path.samestat(temporary.stat(), born) and mode_of(temporary) == 0o600
    assert mode_of(path) == 0o644 and list(path.parent.iterdir()) == [path]
    path.chmod(0o640)
    with written_whole(path) as temporary:
        write(temporary)
    assert mode_of(path) == 0o640


def test_a_new_file_may_be_read_by_whom_the_umask_allows(tmp_path: Path, usual_umask: None) -> None:
    for umask, mode in ((0o000, 0o666), (0o027, 0o640), (0o077, 0o600)):
        os.umask(umask)
        path = tmp_path / f"{umask:o}"
        with written_whole(path) as temporary:
            temporary.touch()
        assert mode_of(path) == mode and os.umask(umask) == umask


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), InputOutputError),
        (OSError(errno.EIO, "Input/output error"), InputOutputError),
        (RuntimeError("NetCDF: HDF error"), InputOutputError),
        (PermissionError(errno.EACCES, "Permission denied"), CannotCreateError),
        (ValueError("of the caller"), ValueError),
        (Interrupted(signal.SIGTERM), Interrupted),
    ],
    ids=str,
)
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(
    raised: BaseException, becomes: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(becomes) as error, written_whole(path) as temporary:
        temporary.write_text("half")
        raise raised
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    if becomes in (InputOutputError, CannotCreateError):
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_where_nothing_can_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    places = ("file/a", "folder", "pipe", "loop/a", "a" * 250)
    for place in places:
        with (
            pytest.raises(CannotCreateError, match="choose another"),
            written_whole(tmp_path / place),
        ):
            raise AssertionError("there is nothing to write to")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder", "pipe", "loop"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes, which only root can have."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


@WRITERS
def test_a_full_disk_costs_no_old_file_and_leaves_nothing(write: Writer, small_disk: Path) -> None:
    path = small_disk / "a"
    with written_whole(path) as temporary:
        write(temporary)
    before = path.read_bytes()
    (small_disk / "filling").write_bytes(bytes(MEGABYTE // 2))
    says = r"a: writing failed \([Nn]o space left on .*\); nothing was left behind"
    with pytest.raises(InputOutputError, match=says), written_whole(path) as temporary:
        write(temporary)
    assert path.read_bytes() == before
    assert {one.name for one in small_disk.iterdir()} == {"a", "filling"}


def python(code: str, *words: object) -> "subprocess.Popen[str]":
    """A process that runs `code`, in which `path` and `words` are given and `say` tells us how
    far it is.
    """
    head = """
import os, signal, sys, time
from pathlib import Path
from nowcast.files import only_writer, written_whole
words = sys.argv[1:]
path = Path(words[0])
def say(what):
    print(what, flush=True)
"""
    command = [sys.executable, "-c", head + code, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def heard(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


HOLD = """
with only_writer(path):
    say("has it")
    (path / ".a.nc.0123abcd.tmp").write_text("half")
    time.sleep(float(words[1]))
"""
"""A process that writes for so many seconds."""


def test_a_second_process_is_told_to_try_later_or_waits(tmp_path: Path) -> None:
    with python(HOLD, tmp_path, 1.0) as process:
        assert heard(process) == "has it"
        with (
            pytest.raises(TryLaterError, match="another process is writing to this folder"),
            only_writer(tmp_path),
        ):
            raise AssertionError("the other is at it")
        start = time.monotonic()
        with pytest.raises(TryLaterError), only_writer(tmp_path, wait=0.2):
            raise AssertionError("the other is at it")
        assert 0.2 <= time.monotonic() - start < 0.7
        with only_writer(tmp_path, wait=60):
            assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_held_is_free_and_what_it_left_is_gone(tmp_path: Path) -> None:
    with python(HOLD, tmp_path, 60) as process:
        assert heard(process) == "has it"
        time.sleep(0.05)
        process.kill()
    assert {path.name for path in tmp_path.iterdir()} == {".lock", ".a.nc.0123abcd.tmp"}
    with only_writer(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_written_as_long_as_a_process_holds_its_lock(tmp_path: Path) -> None:
    assert not is_written(tmp_path)
    with only_writer(tmp_path):
        assert is_written(tmp_path)
        assert is_written(tmp_path)  # looking takes no lock from its holder
    (tmp_path / ".lock").touch()  # as a killed process leaves it
    assert not is_written(tmp_path)


def test_many_processes_that_come_and_go_never_write_at_once(tmp_path: Path) -> None:
    """Each adds one to a number, which it reads and writes apart; the lock file comes and goes
    all the while.
    """
    add = """
for _ in range(30):
    with only_writer(path, wait=60):
        number = path / "number"
        before = int(number.read_text())
        time.sleep(0.001)
        number.write_text(str(before + 1))
"""
    (tmp_path / "number").write_text("0")
    processes = [python(add, tmp_path) for _ in range(4)]
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 4
    assert (tmp_path / "number").read_text() == "120"
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def test_a_lock_that_somebody_else_removed_takes_nobody_elses_with_it(tmp_path: Path) -> None:
    with only_writer(tmp_path):
        (tmp_path / ".lock").unlink()
        with python(HOLD, tmp_path, 60) as process:
            assert heard(process) == "has it"
            with pytest.raises(TryLaterError), only_writer(tmp_path):
                raise AssertionError("the other is at it")
            process.kill()


def test_only_leftovers_of_ours_are_removed(tmp_path: Path) -> None:
    for name in NOT_OURS + LEFT[:1]:
        (tmp_path / name).touch()
    (tmp_path / LEFT[1]).mkdir()
    (tmp_path / LEFT[1] / "scores.nc").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (tmp_path / ".link.01234567.tmp").symlink_to(elsewhere)
    with only_writer(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {*NOT_OURS, "elsewhere"}
    assert (elsewhere / "precious").exists()


def test_a_read_only_folder_is_refused() -> None:
    """To another user where this one is root, whom no permissions stop; and so in a folder that
    others may enter.
    """
    try_each = """
from nowcast.errors import CannotCreateError
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for trial in (lambda: only_writer(path), lambda: written_whole(path / "a"), lambda: written_whole(path / "b" / "a")):
    try:
        with trial():
            say("came in")
    except CannotCreateError as error:
        say(error)
"""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        with python(try_each, folder) as process:
            said, errors = process.communicate(timeout=20)
        assert errors == "" and said.count("Permission denied") == 3 and "came in" not in said
        assert list(Path(folder).iterdir()) == []
        Path(folder).chmod(0o755)


WRITE_FOR_EVER = """
from nowcast.errors import Interrupted
def stop(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Interrupted(number)
signal.signal(signal.SIGTERM, stop)
say("begins")
count = 0
try:
    while True:
        with written_whole(path / "a") as temporary:
            with open(temporary, "w") as file:
                for _ in range(50):
                    file.write(str(count % 10) * 1000)
        count += 1
except Interrupted as interrupt:
    sys.exit(interrupt.exit_code)
"""


INTERRUPTED_BETWEEN_TWO_LINES = """
import sys
from pathlib import Path
from nowcast.errors import Interrupted
from nowcast.files import written_whole

def interrupts(frame, event, arg):
    if event == sys.argv[3] and frame.f_code.co_name == sys.argv[2]:
        sys.settrace(None)
        raise Interrupted(15)
    return interrupts

sys.settrace(interrupts)
try:
    with written_whole(Path(sys.argv[1]) / "a"):
        pass
except Interrupted as interrupt:
    sys.exit(interrupt.exit_code)
"""


@pytest.mark.parametrize(
    ("called", "event"), [("_make", "return"), ("written_whole", "return"), ("remove", "call")]
)
def test_a_signal_between_two_lines_that_make_or_remove_leaves_nothing(
    called: str, event: str, tmp_path: Path
) -> None:
    program = [sys.executable, "-c", INTERRUPTED_BETWEEN_TWO_LINES, str(tmp_path), called, event]
    assert subprocess.run(program, timeout=20).returncode == 143
    assert {path.name for path in tmp_path.iterdir()} <= {"a"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_at_any_moment_leaves_a_whole_file(number: int, tmp_path: Path) -> None:
    moments = random.Random(0)
    for _ in range(8):
        with python(WRITE_FOR_EVER, tmp_path) as process:
            assert heard(process) == "begins"
            time.sleep(moments.uniform(0.0, 0.05))
            process.send_signal(number)
            process.send_signal(number)
            assert process.wait(20) == (143 if number == signal.SIGTERM else -signal.SIGKILL)
        if number == signal.SIGKILL:
            with only_writer(tmp_path):
                pass
        assert {path.name for path in tmp_path.iterdir()} <= {"a"}
        content = (tmp_path / "a").read_text() if (tmp_path / "a").exists() else "0" * 50_000
        assert len(content) == 50_000 and len(set(content)) == 1


def test_a_link_is_switched_in_one_step_and_moves_with_its_folder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "here" / "day")
    for name in ("a", "b"):
        (folder / name).write_text(name)
    link = tmp_path / "here" / "latest"
    link.write_text("what was there")
    for name in ("a", "b"):
        link_whole(link, folder / name)
        assert os.readlink(link) == f"day/{name}" and link.read_text() == name
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there" / "latest").read_text() == "b"
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"day", "latest"}
    with pytest.raises(CannotCreateError):
        link_whole(tmp_path / "nowhere" / "latest", folder / "a")
    with pytest.raises(CannotCreateError):
        link_whole(tmp_path / "there" / "day", tmp_path / "there" / "latest")


def test_files_that_belong_together_are_written_apart_and_privately(
    tmp_path: Path, usual_umask: None
) -> None:
    with written_together(tmp_path) as folder:
        assert mode_of(folder) == 0o700 and folder.parent == tmp_path
        for name in ("a", "b"):
            with written_whole(folder / name) as temporary:
                temporary.write_text(name)
        assert [path.name for path in tmp_path.iterdir() if path != folder] == [".lock"]
    assert {path.name: mode_of(path) for path in tmp_path.iterdir()} == {"a": 0o644, "b": 0o644}


def test_what_could_not_be_written_is_known_beforehand(tmp_path):
    (tmp_path / "there").write_text("as it was")
    refuse_unwritable(tmp_path / "there")
    refuse_unwritable(tmp_path / "new" / "one")
    assert (tmp_path / "there").read_text() == "as it was" and [
        path.name for path in tmp_path.iterdir()
    ] == ["there"]
    for path in (tmp_path, tmp_path / "there" / "one"):
        with pytest.raises(CannotCreateError):
            refuse_unwritable(path)


def test_a_folder_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / ".lock").symlink_to("elsewhere")
    with (
        pytest.raises(CannotCreateError, match=f"^{tmp_path}: cannot be locked with a file .lock "),
        only_writer(tmp_path),
    ):
        raise AssertionError("it was locked")


# ---- file systems that lack something


def refusing(
    call: Callable[..., object], number: int, refuses: Callable[[int], bool]
) -> Callable[..., object]:
    """A system call that fails so for some descriptors."""

    def refuse(descriptor: int, *more: object) -> object:
        if refuses(descriptor):
            raise OSError(number, os.strerror(number))
        return call(descriptor, *more)

    return refuse


def is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


@pytest.mark.parametrize(
    "number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.ENOSYS, errno.EIO]
)
def test_a_folder_that_cannot_be_forced_to_the_disk_is_done_without(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "fsync", refusing(os.fsync, number, is_folder))
    with written_whole(tmp_path / "new" / "a") as temporary:
        temporary.write_text("whole")
    link_whole(tmp_path / "new" / "link", tmp_path / "new" / "a")
    with written_together(tmp_path / "both") as folder:
        (folder / "b").write_text("whole")
    assert (
        (tmp_path / "new" / "link").read_text() == (tmp_path / "both" / "b").read_text() == "whole"
    )
    assert ("may not survive a power cut" in caplog.text) == (number == errno.EIO)


def test_a_file_that_cannot_be_forced_to_the_disk_fails_only_where_the_disk_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", refusing(fsync, errno.EINVAL, lambda descriptor: True))
    with written_whole(tmp_path / "a") as temporary:
        temporary.write_text("whole")
    monkeypatch.setattr(
        os, "fsync", refusing(fsync, errno.EIO, lambda descriptor: not is_folder(descriptor))
    )
    with (
        pytest.raises(InputOutputError, match="nothing was left behind"),
        written_whole(tmp_path / "a") as temporary,
    ):
        temporary.write_text("half")
    assert (tmp_path / "a").read_text() == "whole" and [
        path.name for path in tmp_path.iterdir()
    ] == ["a"]


def test_what_is_left_behind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "remove", lambda path: None)
    with (
        pytest.raises(InputOutputError, match=r"\.a\.\w{8}\.tmp was left behind"),
        written_whole(tmp_path / "a"),
    ):
        raise OSError(errno.EIO, "Input/output error")


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fcntl, "flock", refusing(fcntl.flock, errno.ENOLCK, lambda descriptor: True)
    )


def test_without_locks_a_folder_has_one_writer_by_a_file_that_names_it(
    tmp_path: Path, no_locks: None
) -> None:
    lock, host = tmp_path / ".lock", socket.gethostname()
    with only_writer(tmp_path):
        assert lock.read_text() == f"{host} {os.getpid()}\n"
    lock.write_text(f"{host} {os.getppid()}")
    with (
        pytest.raises(TryLaterError, match=f"process {os.getppid()} on {host}.* no locks"),
        only_writer(tmp_path),
    ):
        raise AssertionError("the other lives")
    lock.write_text("elsewhere 1")
    with pytest.raises(TryLaterError, match="process 1 on elsewhere"), only_writer(tmp_path):
        raise AssertionError("nobody knows")
    lock.write_text(f"{host} 2000000000")
    with only_writer(tmp_path):
        pass
    assert not lock.exists()


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_lock_file_of_a_killed_process_of_another_user_bars_nobody(mode: int) -> None:
    """Root killed while it held the lock; who may write the folder may write there."""
    if os.geteuid():
        pytest.skip("only root can be two users")
    become_nobody = """
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
with only_writer(path):
    say("came in")
"""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        before = os.umask(0o777 & ~mode)
        with python(HOLD, folder, 60) as process:
            assert heard(process) == "has it"
            process.kill()
        os.umask(before)
        assert mode_of(Path(folder, ".lock")) == 0o666, "as the folder, whatever the umask"
        Path(folder, ".lock").chmod(0o644)
        with python(become_nobody, folder) as process:
            assert process.communicate(timeout=20) == ("came in\n", "")


# ---- leftovers, files that belong together, folders


def test_what_killed_processes_left_of_a_path_goes_when_it_is_written_again(tmp_path: Path) -> None:
    for name in (".a.0123abcd.tmp", ".b.0123abcd.tmp", ".a.b.0123abcd.tmp"):
        (tmp_path / name).write_text("of an earlier version")
    (tmp_path / ".a.11111111.tmp").mkdir()
    (tmp_path / ".a.11111111.tmp" / "a").write_text("half")
    with python(
        'with written_whole(path / "a"):\n    say("writes")\n    time.sleep(60)', tmp_path
    ) as process:
        assert heard(process) == "writes"
        [in_use] = tmp_path.glob(".a.????????.tmp")
        with written_whole(tmp_path / "a") as temporary:
            temporary.write_text("whole")
        assert {path.name for path in tmp_path.iterdir()} == {
            "a",
            in_use.name,
            ".b.0123abcd.tmp",
            ".a.b.0123abcd.tmp",
        }
        process.kill()
    with written_whole(tmp_path / "a") as temporary:
        temporary.write_text("whole")
    assert not in_use.exists()


def test_a_strangers_list_of_files_removes_none_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / "scores" / ".together").mkdir(parents=True)
    (tmp_path / "scores" / ".together" / ".names").write_text('["../precious.txt"]')
    with written_together(tmp_path / "scores") as folder:
        (folder / "a").write_text("new")
    assert (tmp_path / "precious.txt").exists() and (tmp_path / "scores" / "a").read_text() == "new"


@pytest.mark.parametrize("calls", range(8))
def test_files_of_two_runs_are_never_seen_together(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies after so many changes of the folder."""

    class Died(BaseException):
        pass

    def write(text: str, *names: str) -> None:
        with written_together(tmp_path, replaces=["c"]) as folder:
            for name in names:
                (folder / name).write_text(text)

    write("old", "a", "b", "c")
    done = 0

    def dying(call: Callable[..., None]) -> Callable[..., None]:
        def change(path: object, *more: object, **how: object) -> None:
            nonlocal done
            if str(path).endswith(".lock"):
                return call(path, *more, **how)
            if done == calls:
                raise Died
            call(path, *more, **how)
            done += 1

        return change

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "rmdir"):
            patch.setattr(os, name, dying(getattr(os, name)))
        with suppress(Died):
            write("new", "a", "b")
    shown = {path.read_text() for path in tmp_path.glob("[abc]")}
    assert len(shown) <= 1
    valid = settled(tmp_path / "a").read_text()
    with pytest.raises(InputOutputError), written_together(tmp_path):
        # what the killed one began is finished all the same
        raise OSError(errno.EIO, "Input/output error")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == ({"a", "b", "c"} if valid == "old" else {"a", "b"})
    assert {(tmp_path / name).read_text() for name in names} == {valid}


def test_what_fails_leaves_no_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for path in (tmp_path / "new" / "deep" / "a", tmp_path / "there" / "a"):
        with pytest.raises(InputOutputError), written_whole(path):
            raise OSError(errno.EIO, "Input/output error")
        with pytest.raises(ValueError), only_writer(path.parent):
            raise ValueError
    with pytest.raises(CannotCreateError):
        make_folder(tmp_path / "new" / ("a" * 300))
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no file system that takes no files")
def test_a_folder_that_takes_no_files_is_refused_at_once() -> None:
    with pytest.raises(CannotCreateError, match=r"^/proc: cannot be locked"), only_writer("/proc"):
        pass
