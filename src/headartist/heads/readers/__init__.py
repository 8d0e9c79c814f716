"""Mesh files of every kind, read without believing them."""
