"""How the prior learns: networks, their training, and shipping."""
