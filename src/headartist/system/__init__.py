"""What everything stands on: errors, files, cache, Warp, the release."""
