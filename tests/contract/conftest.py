"""Fixtures of the contract suites: moto's server, and the real stores that the environment names."""

from support.buckets import address, store
from support.stores import any_store

__all__ = ["address", "any_store", "store"]
