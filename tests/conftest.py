"""What all tests share: Hypothesis repeats the same examples on every run, and keeps no files."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")
