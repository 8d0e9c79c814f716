"""A run: what stays, what one step draws, the step, and the loop."""
