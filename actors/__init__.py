"""The workers of a run: plain classes that hold the models, and Ray actors that wrap them.

Only `actors.cluster` and `actors.telemetry` import Ray; the workers, their protocol and `actors.pool` do not.
"""
