"""What strangers' files and words do to the readers: `make fuzz`, and a sample of it in `make test`."""
