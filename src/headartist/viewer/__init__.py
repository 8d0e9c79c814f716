"""Heads in one HTML page."""
