"""Plain data and texts from outside: YAML without surprises, and texts that every file and terminal takes."""
