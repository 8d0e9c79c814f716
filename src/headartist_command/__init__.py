"""How the `headartist` command begins and ends. It stands apart so that its first line runs before any import."""
