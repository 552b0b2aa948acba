"""Other methods that guide by candidates, for comparison: each is one rule in the place of the search gradient."""
