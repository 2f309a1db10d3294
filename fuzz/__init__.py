"""Fuzzing: one harness for the parsers of frames, one for the engine in both roles. See `fuzz/README.md`."""
