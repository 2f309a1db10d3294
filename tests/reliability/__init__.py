"""Measures of what the project promises under load: `python -m tests.reliability`. Each module is one measure, with `run`."""
