"""What all tests share: Hypothesis repeats the same examples on every run, and keeps no files."""

import os

from hypothesis import settings

# Torch's threads sleep while they wait: awake they take the cores from the tests beside them, four times the work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")
