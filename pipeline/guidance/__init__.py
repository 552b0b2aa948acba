"""The method (Sample Reward Soups, Yao et al., ICLR 2026), in PyTorch alone.

Nothing in this package knows about prompts, devices, reward classes or clusters. The caller binds them into the two
ports of `ports.py` before the method runs.
"""
