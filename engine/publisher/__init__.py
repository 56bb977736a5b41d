"""What publishers run on their own servers."""
