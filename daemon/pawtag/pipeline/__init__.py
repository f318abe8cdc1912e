"""From source to tagger to record, for a limited number of photos at once; then acknowledge or retry."""
