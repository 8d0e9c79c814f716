"""Where a prior's files are, and in which layout."""
