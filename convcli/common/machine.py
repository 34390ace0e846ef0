"""What the machine has to give: processor cores, memory, threads and open files."""

import os
from contextlib import ExitStack
from pathlib import Path

from convcli.common.errors import ConvError

NO_MEMORY = ("failed to map segment", "DefaultCPUAllocator")  # in errors of the system's loader, of torch
NO_THREAD = "start new thread"  # in Python's error
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h

_share: list[int] = []  # where several processes share the processors: how many this one takes


def take_share(threads: int) -> None:
    """Let `available_threads` say so many from now on: others work beside this process."""
    _share[:] = [threads]


def keep_memory() -> None:
    """Let this process and those that it forks keep what they free, within the bounds that glibc itself goes up to.

    Otherwise each small file would get its memory from the system again, page by page.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    for option, size in (_TRIM_THRESHOLD, 64 << 20), (_MMAP_THRESHOLD, 32 << 20):
        if mallopt is not None:
            mallopt(option, size)


def available_threads() -> int:
    """Return how many processors this process may use."""
    if _share:
        return _share[0]
    if hasattr(os, "sched_getaffinity"):  # Linux; a container may be given fewer than the machine has
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int | None:
    """Return the bytes that the machine can still give, or None where it does not say."""
    try:
        with Path("/proc/meminfo").open("rb") as lines:
            kilobytes = next(
                (int(line.split()[1]) for line in lines if line.startswith(b"MemAvailable:")), None
            )
    except OSError:  # not Linux
        return None
    if kilobytes is None:
        return None
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_AS)  # ulimit -v
    taken = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
    return 1024 * kilobytes if most == resource.RLIM_INFINITY else min(1024 * kilobytes, max(0, most - taken))


def own_memory() -> tuple[int, int]:
    """Return the bytes that this process takes, and the most that it took; 0 where the machine does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return 0, 0
    fields = dict(line.split(":", 1) for line in lines)
    rss, most = (1024 * int(fields[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    return rss, most


def check_room(what: str, megabytes: int, threads: int = 0, files: int = 0) -> None:
    """Check that this much address space and this many threads and open files are available.

    Raises
    ------
    ConvError
        When they are not: ``what`` would end the process, or wait forever.
    """
    import mmap
    import resource
    from threading import Event, Thread

    end = Event()
    with ExitStack() as taken:
        try:
            for _ in range(files):
                taken.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            taken.enter_context(mmap.mmap(-1, megabytes << 20, prot=0))
            if (
                resource.getrlimit(resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY
            ):  # a fifth is written, as measured
                taken.enter_context(
                    mmap.mmap(-1, megabytes * 2**20 // 5, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                )
            for _ in range(threads):
                thread = Thread(target=end.wait, daemon=True)
                thread.start()
                taken.callback(thread.join)
        except (OSError, RuntimeError, MemoryError):
            raise ConvError(
                f"{what} needs {megabytes} MB of address space, {threads} threads and {files} open files, more than "
                "this process may have (see ulimit -a)"
            ) from None
        finally:
            end.set()
