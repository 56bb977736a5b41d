"""The Flask service: one short module a blueprint."""
