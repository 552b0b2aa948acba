"""The workers of a run: plain classes that hold the models, and the Ray actors that are thin shells on them.

The classes in `workers.py` and `protocol.py` import no Ray; everything that does is in this package.
"""
