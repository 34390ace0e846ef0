"""``python -m convcli``: the same as the command ``convcli``."""

import os
import signal

if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # until the launcher can do so itself
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

from convcli.cli.launch import main

if __name__ == "__main__":
    main()
