"""Stores of chunked arrays."""
