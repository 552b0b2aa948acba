"""The network that stands in for the rewards, and its file."""
