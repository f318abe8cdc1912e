"""Fixtures of the acceptance tests: a bucket with a queue on moto's server."""

from support.buckets import address, store

__all__ = ["address", "store"]
