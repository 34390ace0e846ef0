"""Files as arrays: readers, writers and outputs that are never half-written."""
