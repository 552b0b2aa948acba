"""Soup steps that share by measured cosines: which rows are evaluated in a step, and which rows borrow from them."""
