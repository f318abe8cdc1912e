"""Fixtures, doubles, fault proxy, real stores and processes for the tests."""
