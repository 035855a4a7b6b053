"""What Wraith keeps on disk: where it lies, and files that are there whole or not at all."""
