"""Tactful chooses, serves, learns, bills and reports: the engine itself."""
