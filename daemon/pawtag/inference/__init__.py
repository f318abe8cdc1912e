"""Image-text models: checkpoints, engines, the self test, scoring, and the tagger."""
