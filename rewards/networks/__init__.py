"""The networks that learned rewards share: architectures, checkpoint layouts and preprocessing."""
