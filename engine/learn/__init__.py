"""What ranks better with time. What it learns from is handed to it by its diet alone."""
