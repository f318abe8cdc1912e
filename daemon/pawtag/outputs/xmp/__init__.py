"""Keywords in XMP sidecars, for photo apps."""
