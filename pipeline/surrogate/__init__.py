"""The surrogate of a run: its training pairs, its training, and the rounds of prompts that share it."""
