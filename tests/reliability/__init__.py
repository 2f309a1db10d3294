"""What the reliability report is made of: runs too long for the suite, each of which has a short form in it.

Each module here that measures something has `run(...) -> str`, which makes its section of docs/reliability.md, and can be
run by itself: `python -m tests.reliability.faults --schedules 200000`.
"""
