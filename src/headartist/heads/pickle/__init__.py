"""A pickle read as data: nothing in it runs."""
