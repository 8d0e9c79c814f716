"""How the embedded prior is made: captioned renders of synthetic heads, training, and judging."""
