"""The folder: a source of photos, and the sidecars beside them."""
