"""Outputs: other places for the content of records (XMP). The webhook is a separate adapter."""
