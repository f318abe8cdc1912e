"""Source to tagger to record: bounded, each photo once at a time, acknowledged or retried."""
