"""Primitives and constructions: hashes, groups, signatures, suites, the key schedule. Knows no steps and no engine."""
