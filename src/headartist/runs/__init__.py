"""Whole runs: a prompt, an edit, several seeds, and where a head comes from."""
