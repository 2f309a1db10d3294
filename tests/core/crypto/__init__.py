"""Tests of the primitives and constructions, each against another implementation where there is one."""
