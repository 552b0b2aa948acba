"""The networks of the learned rewards: architectures, layouts of their files, and preprocessing."""
