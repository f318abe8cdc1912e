"""Engines: each runs an image-text model with one library."""
