"""Tests of transcripts: recording, reading, replaying."""
