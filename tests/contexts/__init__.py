"""Tests of contexts."""
