"""Image-text models: finding a checkpoint, loading it, and knowing that it answers as it must."""
