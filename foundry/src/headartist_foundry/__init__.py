"""How the embedded prior is made: renders, training, judging."""
