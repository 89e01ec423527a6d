"""Arabic text: characters as data, and pure functions that normalise."""
