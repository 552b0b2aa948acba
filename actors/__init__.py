"""The workers of a run: plain classes that hold the models, and the Ray actors that are thin shells on them.

The workers, the protocol and the rules of the pool import no Ray; everything that does is in this package.
"""
