"""``python -m convcli``: the same as the command ``convcli``."""

import _signal  # type: ignore[import-not-found]  # in C; `signal` makes enums first, where an interrupt is a traceback
import os

if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:  # until the launcher can do so itself
    _signal.signal(_signal.SIGINT, lambda *_: os._exit(130))

from convcli.cli.launch import main

if __name__ == "__main__":
    main()
