"""Fixtures of the integration tests: a bucket with a queue on moto's server."""

from support.buckets import address, cli_store, store

__all__ = ["address", "cli_store", "store"]
