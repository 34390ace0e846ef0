"""What a job's process does to itself before the job begins; each takes numbers, and needs nothing loaded."""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import time


def limit_files(most: int) -> None:
    """Let no file grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def as_anyone() -> None:
    """Give up root's way past permissions; others never had it."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        header = struct.pack("Ii", 0x20080522, 0)
        data = (ctypes.c_uint32 * 6)()
        libc.capget(header, data)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: for a program that is started
        for word in (0, 1):  # effective and permitted
            data[word] &= ~0b110
        if libc.capset(header, data):
            raise OSError("capset")


def jumping_clock(after: int) -> None:
    """Let the clock on the wall fall back ten years after so many looks at it."""
    calls, real = 0, time.time

    def clock() -> float:
        nonlocal calls
        calls += 1
        return real() + (-3e8 if calls > after else 0)

    time.time = clock
