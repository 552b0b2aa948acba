"""Compares a learned reward with its authors' own package on reference images: `srsoup rewards --parity NAME`."""
