"""Set-up of a bucket: queue, notification, permissions, and the checks that they work."""
