"""The promises as commands."""
