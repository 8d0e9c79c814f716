"""How good a head is, and how much of one is left in its edit."""
