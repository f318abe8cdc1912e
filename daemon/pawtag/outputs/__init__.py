"""Outputs: other places for what records say. The webhook, as an adapter of its own."""
