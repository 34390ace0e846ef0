"""What a shell offers when Tab is pressed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.shell import SAMPLES


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("kernels show sobel-", {"sobel-x", "sobel-y"}),
        ("filter a.png -k roberts", {"roberts"}),
        ("filter a.png --pad-mode re", {"replicate", "reflect"}),
        ("filter a.png --padding same", {"same", "same-lower", "same-upper"}),
        ("filter a.png --engine t", {"torch"}),
        ("filter a.png --missing k", {"keep"}),
        ("filter a.png --codec ff", {"ffv1"}),
        ("filter a.png --range off", {"offset:2"}),
        (f"filter {SAMPLES / 'noisy-signal.csv'} --columns v", {"voltage"}),
        (f"filter {SAMPLES / 'noisy-signal.csv'} --columns time,t", {"time,time", "time,temperature"}),
        ("explain a.png --dil", {"--dilation"}),
    ],
)
def test_offers(words: str, offered: set[str]) -> None:
    asked = {
        "COMP_WORDS": f"convcli {words}",
        "COMP_CWORD": str(len(words.split())),
        "_CONVCLI_COMPLETE": "complete_bash",
    }
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'convcli'; from convcli.cli.launch import main; main()",
        ],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert set(done.stdout.split()) == offered, done.stderr
