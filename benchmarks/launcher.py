"""Starts commands for the harness and measures them; a process of its own, so that it stays small.

The kernel counts the memory of whoever starts a process into that process's peak, so a harness that has
loaded torch would lend every command half a gigabyte.  Reads a JSON object a line from standard input
(``arguments``, ``stdout``: a path or null) and answers each with a line: ``seconds``, ``peak`` (bytes),
``code`` and ``errors``, what the command wrote to standard error.  Standard library only.
"""

import json
import os
import resource
import sys
import tempfile
import time

UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def launch(arguments: list[str], stdout: str | None) -> dict[str, object]:
    with tempfile.TemporaryFile() as errors:
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, stdout or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
        ]
        start = time.perf_counter()
        child = os.posix_spawnp(arguments[0], arguments, os.environ, file_actions=files)
        _, status, usage = os.wait4(child, 0)
        seconds = time.perf_counter() - start
        errors.seek(0)
        return {
            "seconds": seconds,
            "peak": usage.ru_maxrss * UNIT,
            "code": os.waitstatus_to_exitcode(status),
            "errors": errors.read().decode(errors="replace"),
        }


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        print(json.dumps(launch(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
