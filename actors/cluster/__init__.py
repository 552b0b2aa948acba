"""The Ray cluster: joining it, placing actors on it, and the cells that run prompts."""
