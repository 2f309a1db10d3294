"""Fuzz harnesses: see README.md. Nothing here is part of the package."""
