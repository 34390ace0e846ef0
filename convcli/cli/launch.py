"""The process of the command: set up before the program loads, left as soon as the program is done.

What is peculiar about a process stands here and nowhere else: the garbage collector, threads of numpy's libraries,
interrupts during imports, signals, streams that are closed or speak another alphabet.  `convcli.cli.program` is the
program itself, and also runs inside another process.
"""

import gc

# A start makes 50,000 objects and no garbage: looking for garbage takes 20 ms, a tenth of a small job (measured).
gc.set_threshold(200_000)

try:  # the imports are a good part of a small job's time, so an interrupt is likely to come here
    import os
    import signal
    import sys
    import warnings
    from typing import NoReturn

    from convcli.cli.program import run
    from convcli.cli.shared.report import speak_plainly
    from convcli.common.machine import available_threads, check_room
    from convcli.common.signals import leave_on
except KeyboardInterrupt:
    raise SystemExit(130) from None
except RuntimeError as error:  # Python 3.11 raises this for an interrupt while members of an enum are made
    if isinstance(error.__cause__, KeyboardInterrupt):
        raise SystemExit(130) from None
    raise


class _Room:
    """Stands before imports: compiled code ends the process, or waits forever, where memory or threads are too few."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Refuse a library that could not work; find none."""
        cores = available_threads()
        blas = 0 if "OPENBLAS_NUM_THREADS" in os.environ else cores - 1
        match name:  # address space in megabytes and threads of a small job, as measured
            case "numpy":
                check_room(name, 150 + 64 * blas, blas)
            case "av":
                check_room("FFmpeg", 64, 4 + 2 * cores)
            case "torch":
                check_room(name, 800 + 250 * cores, cores)
            case "polars":
                if os.environ.get("POLARS_MAX_THREADS", "") not in map(str, range(1, cores + 1)):
                    os.environ.pop("POLARS_MAX_THREADS", None)  # 0 ends in a panic, and so do too many
                check_room(name, 800 + 250 * cores, 14 + cores, 12)


def main() -> NoReturn:
    """Run the command line of this process, and end the process.

    Every file is closed and in its place by then, so `os._exit` loses nothing; Python's own exit takes all modules
    apart first, a tenth of a small job's time (measured).
    """
    # Blocks share the cores, and numpy starts in half the time without threads of its own.
    if sys.argv[1:2] != ["learn"]:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name in ("TERM", "INT", "HUP", "QUIT", "ALRM", "USR1", "USR2", "XCPU"):  # each would end the process
        number = getattr(signal, f"SIG{name}", None)  # Windows has three
        # What nohup ignores stays ignored
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            leave_on(number)
    # Descriptors that were closed are taken, or the first file opened would stand where output is written.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # nobody reads it
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    speak_plainly()
    sys.meta_path.insert(0, _Room)
    if not sys.warnoptions:  # what libraries warn of is for programmers
        warnings.simplefilter("ignore")
    code = run(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
