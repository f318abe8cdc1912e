"""pawtag: tags new pet photos in a folder, and any photo handed to it over HTTP."""

__version__ = "0.1.0"
