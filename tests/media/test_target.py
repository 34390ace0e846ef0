"""Outputs that appear whole or not at all, inputs that come from anywhere."""

from __future__ import annotations

import io
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

import pytest

from convcli.common.errors import ConvError, UsageError
from convcli.media.files import atomic, target
from convcli.media.files.atomic import replacing, replacing_all
from convcli.media.files.target import (
    Folder,
    check_output,
    folder_output,
    open_input,
    output,
    same_file,
)
from convcli.media.opening import check_not_input


def one_line(error: pytest.ExceptionInfo[ConvError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def run(code: str, *args: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run a script that has ``output`` and ``open_input`` at hand, as a process of its own."""
    head = "import os, sys, time\nfrom convcli.common.errors import ConvError\n"
    head += "from convcli.media.files.target import open_input, output\n"
    command = [sys.executable, "-c", head + code, *map(str, args)]
    return subprocess.run(command, capture_output="stdout" not in options, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


# ------------------------------------------------------------------------------------ regular targets


@pytest.fixture(params=[False, True], ids=["file without a name", "temporary"])
def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file system knows only files with names."""
    if request.param:
        monkeypatch.setattr(atomic, "_UNNAMED", 0)
    return bool(request.param)


def test_new_file_appears_at_the_end_and_follows_the_umask(named: bool, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    old = os.umask(0o027)
    try:
        with output(target) as fp:
            fp.write(b"half")
            fp.flush()
            assert not target.exists()
            names = [p.name for p in tmp_path.iterdir()]
            assert names == [".a.convcli-000000.png"] * named
            fp.write(b" whole")
    finally:
        os.umask(old)
    assert target.read_bytes() == b"half whole"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [target]


def test_an_existing_file_needs_force_and_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_bytes(b"old")
    target.chmod(0o604)
    with pytest.raises(ConvError) as error, output(target):
        pytest.fail("opened")
    one_line(error, "a.csv", "exists", "-y")
    assert error.value.exit_code == 1
    with output(target, force=True) as fp:
        fp.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o604


def test_a_file_that_comes_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    with pytest.raises(ConvError, match="exists"), output(target) as fp:
        fp.write(b"ours")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_is_renamed_meanwhile_gets_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    with output(folder / "x.csv") as fp:
        fp.write(b"whole")
        folder.rename(tmp_path / "b")
        folder.mkdir()
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["x.csv"]
    assert list(folder.iterdir()) == []
    with replacing_all(tmp_path / "b", force=True) as new:
        os.close(os.open("x.csv", os.O_WRONLY | os.O_CREAT, dir_fd=new))
        (tmp_path / "b").rename(tmp_path / "c")
        (tmp_path / "b").mkdir()
    assert [path.stat().st_size for path in (tmp_path / "c").iterdir()] == [0]
    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize(
    "failure", [ConvError("no"), KeyboardInterrupt(), SystemExit(143), ZeroDivisionError()]
)
def test_a_failure_leaves_the_old_file_and_no_temporary(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "a.csv"
    target.write_bytes(b"old")
    with pytest.raises(type(failure)), output(target, force=True) as fp:
        fp.write(b"x" * 200_000)
        raise failure
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_symbolic_links_are_followed_and_stay(named: bool, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "a.csv").write_bytes(b"old")
    (tmp_path / "link.csv").symlink_to("real/a.csv")
    (tmp_path / "second.csv").symlink_to("link.csv")
    with output(tmp_path / "second.csv", force=True) as fp:
        fp.write(b"new")
        assert any(".a.convcli-" in p.name for p in folder.iterdir()) == named
    assert (tmp_path / "second.csv").is_symlink()
    assert (folder / "a.csv").read_bytes() == b"new"

    (tmp_path / "dangling.csv").symlink_to("real/b.csv")
    with output(tmp_path / "dangling.csv") as fp:
        fp.write(b"b")
    assert (folder / "b.csv").read_bytes() == b"b"

    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(ConvError) as error, output(tmp_path / "loop.csv"):
        pass
    one_line(error, "loop.csv", "symbolic links")


def test_what_cannot_be_a_target(tmp_path: Path) -> None:
    for path, words in [
        (tmp_path, ["folder"]),
        (tmp_path / "none" / "a.png", ["no folder", "none"]),
        (tmp_path / ("x" * 300 + ".png"), ["too long"]),
        ("a\0b.png", ["null byte"]),
    ]:
        with pytest.raises(ConvError) as error, output(path):
            pytest.fail("opened")
        one_line(error, *words)
        assert error.value.exit_code == 1
        with pytest.raises(ConvError, match=words[0]):
            check_output(path)
    check_output(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    read_only = tmp_path / "a.csv"
    read_only.write_bytes(b"old")
    read_only.chmod(0o444)
    with pytest.raises(ConvError, match="no permission"):
        check_output(read_only, force=True)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(ConvError, match="no permission"):
            check_output(tmp_path / "b.csv")
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize(
    "name", ["a b.png", "new\nline.png", "100%d.png", "-y.png", "größe.png", "n" * 251 + ".png"]
)
def test_odd_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with output(name) as fp:
        fp.write(b"1")
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with pytest.raises(ConvError) as error:
        check_output(name)
    one_line(error, "exists")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")
    with output(name) as fp:
        fp.write(b"1")
    with open_input(name) as fp:
        assert fp.read() == b"1"
    with pytest.raises(ConvError) as error:
        check_output(name)
    str(error.value).encode()


def test_full_disk(tmp_path: Path) -> None:
    """A file may grow to 100 kB: the write fails in the middle, or at the last flush."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with output(sys.argv[1], force=True) as fp:
        for _ in range(int(sys.argv[2])):
            fp.write(b"x" * 1010)
except ConvError as error:
    sys.exit(str(error))
"""
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    for blocks in (1000, 100):  # 100 blocks are 101 kB: 65 kB are written, the rest is still in the buffer
        done = run(code, target, blocks)
        assert done.returncode == 1, done.stderr
        assert done.stderr.count(b"\n") == 1
        assert b"a.bin': cannot be written: File too large" in done.stderr
        assert target.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [target]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGABRT])
def test_killed(named: bool, tmp_path: Path, sig: signal.Signals) -> None:
    """Only an end that no program can act on leaves a temporary; the next run with the same target removes it."""
    code = f"""
import signal
from convcli.media.files import atomic
atomic._UNNAMED *= {not named}
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
signal.signal(signal.SIGINT, signal.default_int_handler)
with output(sys.argv[1], force=True) as fp:
    fp.write(b"x" * 100_000)
    print("ready", flush=True)
    time.sleep(60)
"""
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    other = tmp_path / ".b.convcli-000000.bin"  # as of another target: never ours
    other.write_bytes(b"other")
    head = "import os, sys, time\nfrom convcli.media.files.target import output\n"
    with subprocess.Popen(
        [sys.executable, "-c", head + code, str(target)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(sig)
        process.wait(30)
    left = sorted(p.name for p in tmp_path.iterdir())
    stale = [".a.convcli-000000.bin"] * (named and sig in (signal.SIGKILL, signal.SIGABRT))
    assert left == [*stale, other.name, "a.bin"]
    assert target.read_bytes() == b"old"
    with output(target, force=True) as fp:
        fp.write(b"new")
    assert sorted(p.name for p in tmp_path.iterdir()) == [other.name, "a.bin"]


def test_two_runs_with_one_target_do_not_disturb_each_other(named: bool, tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with replacing(target, True) as first, replacing(target, True) as second:
        os.write(first, b"first")
        os.write(second, b"second")
        assert len(list(tmp_path.iterdir())) == 2 * named
    assert target.read_bytes() == b"first"  # the last to finish
    assert list(tmp_path.iterdir()) == [target]


def test_many_runs_at_once(named: bool, tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    errors = []

    def work(letter: bytes) -> None:
        try:
            for _ in range(30):
                with output(target, force=True) as fp:
                    fp.write(letter * 5000)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    content = target.read_bytes()
    assert len(content) == 5000
    assert len(set(content)) == 1
    assert list(tmp_path.iterdir()) == [target]


# -------------------------------------------------------------------------------- pipes and devices


def test_standard_output() -> None:
    done = run('with output("-") as fp:\n    assert not fp.seekable()\n    fp.write(b"\\x00\\xff")')
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\0\xff", b"")


def test_a_writer_that_seeks_gets_a_file_also_for_a_pipe() -> None:
    code = 'with output("-", seeks=True) as fp:\n    fp.write(b"abc"); fp.seek(1); fp.write(b"X")'
    assert run(code).stdout == b"aXc"
    code = 'with output("-", seeks=True) as fp:\n    fp.write(b"abc"); raise ConvError("no")'
    assert run(code).stdout == b""


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_redirected_standard_output_is_continued_not_replaced(tmp_path: Path, name: str) -> None:
    target = tmp_path / "all.bin"
    with target.open("wb") as fp:
        fp.write(b"before ")
        fp.flush()
        inode = os.fstat(fp.fileno()).st_ino
        done = run(f'print("word")\nwith output({name!r}) as fp:\n    fp.write(b"data")', stdout=fp)
        assert done.returncode == 0
    assert target.read_bytes() == b"before word\ndata"
    assert target.stat().st_ino == inode
    assert list(tmp_path.iterdir()) == [target]


def test_full_device_is_one_line() -> None:
    code = """
try:
    with output(sys.argv[1]) as fp:
        fp.write(b"x" * int(sys.argv[2]))
except ConvError as error:
    sys.exit(str(error))
"""
    for name, size in [("-", 10), ("-", 200_000), ("/dev/full", 10), ("/dev/stdout", 10)]:
        with Path("/dev/full").open("wb", buffering=0) as full:
            done = run(code, name, size, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 1, name
        assert done.stderr.count(b"\n") == 1
        assert b"No space left" in done.stderr


def test_devices_and_pipes_are_written_directly(tmp_path: Path) -> None:
    with output("/dev/null") as fp:
        fp.write(b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    fifo = tmp_path / "fifo.png"
    os.mkfifo(fifo)
    got = []
    thread = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    thread.start()
    with output(fifo) as fp:
        fp.write(b"through")
    thread.join()
    assert got == [b"through"]
    assert fifo.is_fifo()


def test_a_closed_pipe_is_a_broken_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(BrokenPipeError), output(f"/dev/fd/{writer}") as fp:
            fp.write(b"x" * 100)
    finally:
        os.close(writer)


def test_an_interrupt_does_not_wait_for_a_full_pipe() -> None:
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, True)
        os.write(writer, b"x" * 65536)
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt), output(f"/dev/fd/{writer}") as fp:
            fp.write(b"still in the buffer")
            raise KeyboardInterrupt
        assert time.monotonic() - start < 5
    finally:
        os.close(reader)
        os.close(writer)


def test_binary_is_not_written_to_a_terminal() -> None:
    master, slave = os.openpty()
    try:
        with pytest.raises(UsageError) as error, output(f"/dev/fd/{slave}"):
            pytest.fail("opened")
        one_line(error, "terminal", "-o")
        with output(f"/dev/fd/{slave}", binary=False) as fp:
            fp.write(b"1,2\n")
        assert os.read(master, 10) == b"1,2\r\n"
    finally:
        os.close(master)
        os.close(slave)


def test_closed_standard_streams() -> None:
    code = """
try:
    with output("-") as fp:
        fp.write(b"x")
except ConvError as error:
    sys.exit(str(error))
"""
    done = run(code, stdout=None, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert b"standard output: it is closed" in done.stderr
    code = 'try:\n    open_input("-")\nexcept ConvError as error:\n    sys.exit(str(error))'
    done = run(code, preexec_fn=lambda: os.close(0))
    assert done.returncode == 1
    assert b"standard input: it is closed" in done.stderr


def test_stand_ins_of_a_caller_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"given")))
    check_output("-")
    with open_input("-") as source, output("-") as fp:
        fp.write(source.read())
    assert out.buffer.getvalue() == b"given"  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------------- inputs


def test_input_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    with open_input(tmp_path / "a.bin") as fp:
        assert fp.read() == b"abc"


def test_what_cannot_be_an_input(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    for path, words in [
        (tmp_path / "none.png", ["no such file", "none.png"]),
        (tmp_path / "empty.png", ["is empty", "empty.png"]),
        (tmp_path / "empty.png" / "x.png", ["Not a directory"]),
        ("http://example.org/a.png", ["local files", "download"]),
        (Path("https://example.org/a.png"), ["local files", "download"]),
        ("a\0b", ["null byte"]),
        ("/dev/null", ["is empty"]),
    ]:
        with pytest.raises(ConvError) as error:
            open_input(path)
        one_line(error, *words)
        assert error.value.exit_code == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_unreadable_input(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(ConvError, match=r"a\.png.*Permission denied"):
        open_input(tmp_path / "a.png")


@pytest.mark.parametrize("size", [7, 40_000_000])
def test_a_pipe_is_spooled(size: int) -> None:
    code = """
fp = open_input("-")
data = fp.read()
fp.seek(3)
print(len(data), fp.seekable(), fp.read(2), fp.seek(0, 2))
"""
    done = run(code, input=b"abcdefg" + bytes(size - 7))
    assert done.stdout.split() == [str(size).encode(), b"True", b"b'de'", str(size).encode()], done.stderr


def test_redirected_input_starts_where_the_shell_stands(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"first\nrest")
    code = "print(open_input('-').read())"
    with (tmp_path / "a.txt").open("rb", buffering=0) as fp:
        assert run(code, stdin=fp).stdout == b"b'first\\nrest'\n"
    with (tmp_path / "a.txt").open("rb", buffering=0) as fp:
        fp.read(6)
        assert run(code, stdin=fp).stdout == b"b'rest'\n"


def test_empty_standard_input() -> None:
    done = run('try:\n    open_input("-")\nexcept ConvError as e:\n    sys.exit(str(e))', input=b"")
    assert done.stderr == b"standard input: it is empty\n"


def test_same_file_and_output_onto_the_input(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "link.png").symlink_to("a.png")
    os.link(tmp_path / "a.png", tmp_path / "hard.png")
    assert same_file(tmp_path / "a.png", tmp_path / "link.png")
    assert same_file(tmp_path / "a.png", tmp_path / "hard.png")
    assert not same_file(tmp_path / "a.png", tmp_path / "b.png")
    assert not same_file("-", "-")
    check_not_input(str(tmp_path / "b.png"), [str(tmp_path / "a.png"), "-"])
    check_not_input("/dev/null", ["/dev/null"])
    with pytest.raises(ConvError) as error:
        check_not_input(str(tmp_path / "link.png"), ["-", str(tmp_path / "a.png")])
    one_line(error, "link.png", "input", "-y")


def test_what_replaces_a_private_file_is_private_from_the_start(named: bool, tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.touch(mode=0o600)
    target.chmod(0o640)
    with replacing(target, True) as descriptor:
        assert os.fstat(descriptor).st_mode & 0o777 == 0o600
    assert target.stat().st_mode & 0o777 == 0o640


def test_one_of_several_runs_without_force_wins(named: bool, tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    ready, won = threading.Barrier(8), []

    def work(number: int) -> None:
        try:
            with output(target) as fp:
                fp.write(bytes([number]) * 100)
                ready.wait()
            won.append(number)
        except ConvError as error:
            assert "it exists" in str(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert target.read_bytes() == bytes(won) * 100
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_may_be_renamed_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with output(tmp_path / "a" / "x.bin") as fp:
        fp.write(b"whole")
        (tmp_path / "a").rename(tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["x.bin"]
    assert (tmp_path / "b" / "x.bin").read_bytes() == b"whole"


def spooled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> IO[bytes]:
    """Return what `open_input` keeps of a long pipe, with ``folder`` for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    reading, writing = os.pipe()
    feeder = threading.Thread(target=lambda: os.write(writing, b"a secret " * 9) and os.close(writing))
    feeder.start()
    monkeypatch.setattr(target, "SPOOL", 10)
    with monkeypatch.context() as patch, open(reading, closefd=False) as pipe:
        patch.setattr(sys, "stdin", pipe)
        copy = open_input("-")
    feeder.join()
    os.close(reading)
    return copy


def test_a_long_pipe_is_kept_where_no_other_user_gets_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file has no name at any time that could be foreseen, and is nobody else's to open."""
    tmp_path.chmod(0o777)
    named: list[tuple[str, int]] = []
    watching = [True]

    def hear(event: str, args: tuple[object, ...]) -> None:
        if (
            watching and event == "open" and args[1] is None
        ):  # os.open, which `open` calls with flags of its own
            named.append((str(args[0]), args[2]))

    sys.addaudithook(hear)
    copy = spooled(tmp_path, monkeypatch)
    watching.clear()
    descriptor = copy.fileno()
    found = os.fstat(descriptor)
    assert (stat.S_IMODE(found.st_mode), found.st_nlink, list(tmp_path.iterdir())) == (0o600, 0, [])
    opened = [flags for name, flags in named if name.startswith(str(tmp_path))]
    assert opened and all(flags & os.O_TMPFILE == os.O_TMPFILE or flags & os.O_EXCL for flags in opened)
    assert os.pread(descriptor, 8, 0) == b"a secret"
    if os.geteuid() == 0 and shutil.which("setpriv"):
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        path = f"/proc/{os.getpid()}/fd/{descriptor}"
        done = subprocess.run([*other, "cat", path], capture_output=True, text=True, check=False)
        assert done.returncode != 0 and "secret" not in done.stdout and "denied" in done.stderr
    copy.close()


# ------------------------------------------------------------------------------------- whole folders


def is_store(folder: Path) -> bool:
    return (folder / "mark").is_file()


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("known", [True, False], ids=["renameat2", "rename"])
@pytest.mark.parametrize("proc", [True, False], ids=["by descriptor", "by name"])
def test_a_folder_appears_whole_and_is_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool, proc: bool
) -> None:
    if not known:
        monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: None)
    if not proc:
        monkeypatch.setattr(atomic, "_NAMELESS", "/nowhere/{}")
    place, old = tmp_path / "out.store", os.umask(0o027)
    try:
        for number, force in ((b"1", False), (b"2", True)):
            with folder_output(place, is_store, force=force) as folder:
                (folder.path / "c" / "0").mkdir(parents=True)
                (folder.path / "c" / "0" / number.decode()).write_bytes(number)
                (folder.path / "mark").write_bytes(number)
                assert place.exists() == force
                stage = next(one for one in tmp_path.iterdir() if one != place)
                assert stat.S_IMODE(stage.stat().st_mode) == 0o700
            assert content(place) == {"mark": number, f"c/0/{number.decode()}": number}
            assert stat.S_IMODE(place.stat().st_mode) == (0o700 if force else 0o750)
            place.chmod(0o700)
            with pytest.raises(RuntimeError), folder_output(place, is_store, force=True) as folder:
                (folder.path / "mark").write_bytes(b"half")
                raise RuntimeError
            with pytest.raises(ConvError, match="it exists"), folder_output(place, is_store):
                pass
            assert [*tmp_path.iterdir()] == [place]
            assert (place / "mark").read_bytes() == number
    finally:
        os.umask(old)


@pytest.mark.parametrize("known", [True, False], ids=["renameat2", "rename"])
def test_a_folder_that_comes_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if not known:
        monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: None)
    place = tmp_path / "out.store"
    with pytest.raises(ConvError, match="it exists"), folder_output(place, is_store):
        place.mkdir()
        (place / "other").touch()
    assert content(tmp_path) == {"out.store/other": b""}


def test_what_no_folder_replaces(tmp_path: Path) -> None:
    """Nothing but stores, and what a link leads to rather than the link."""
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").touch()
    (tmp_path / "file").touch()
    before = content(tmp_path)
    for name, words in (
        ("letters", "a folder of other things"),
        ("file", "it is a file, and such data is a folder"),
        ("nowhere/out", "there is no folder of this name"),
    ):
        for attempt in (
            lambda place: check_output(place, force=True, folder=is_store),
            lambda place: folder_output(place, is_store, force=True).__enter__(),
        ):
            with pytest.raises(ConvError) as caught:
                attempt(tmp_path / name)
            one_line(caught, name.partition("/")[0], words)
    with pytest.raises(UsageError, match="name one with -o"):
        check_output("-", folder=is_store)
    assert content(tmp_path) == before
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with folder_output(tmp_path / "link", is_store, force=True) as folder:
        (folder.path / "mark").touch()
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == {"mark": b""}


def test_a_folder_is_an_input_too(tmp_path: Path) -> None:
    folder = open_input(tmp_path)
    assert isinstance(folder, Folder)
    assert folder.path == tmp_path
    with pytest.raises(ConvError, match="an input too"):
        check_not_input(str(tmp_path), [str(tmp_path)])
