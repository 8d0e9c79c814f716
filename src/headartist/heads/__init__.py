"""Heads to start from: the parametric template, the shipped open head, and the landmark map."""
