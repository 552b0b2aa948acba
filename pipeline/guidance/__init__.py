"""The method (Sample Reward Soups, Yao et al., ICLR 2026), torch only.

Nothing in this package knows a prompt, a device, a reward's class or a cluster: they are bound beforehand
into the two ports of `ports.py`.
"""
