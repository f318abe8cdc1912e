"""The composition root: settings become sources, tagger and server."""
