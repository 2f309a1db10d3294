"""Test vectors of `nautilus/1`: one JSON file a case, what is in them (`model`), and what makes them (`generate`)."""
