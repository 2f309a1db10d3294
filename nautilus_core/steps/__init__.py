"""The steps of `nautilus/1`, each beside its message. They see a context and know no engine."""
