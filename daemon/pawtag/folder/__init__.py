"""The folder: a source of photos, and their sidecars."""
