"""Plans a run: decides what it will do, and checks the request before anything starts."""
