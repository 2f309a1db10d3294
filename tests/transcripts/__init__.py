"""Recorded handshakes that pin the wire format of version 1: `cases` says what each is, `recorded` has them.

`python -m tests.transcripts` records those that are missing. What is there is never written again without `--force`.
"""
