"""What a run takes of GPUs: hours and memory, from measured rates."""
