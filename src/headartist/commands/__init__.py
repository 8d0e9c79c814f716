"""What the commands take, and those that need more than a line."""
