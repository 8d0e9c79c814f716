"""Heads that can be drawn and optimised."""
