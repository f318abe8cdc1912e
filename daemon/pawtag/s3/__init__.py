"""S3 and compatible stores: sources of photos, and their records as tags or sidecar objects."""
