"""What may be known, kept and told about a page view."""
