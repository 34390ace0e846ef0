"""What each command asks of the system, seen by strace: `make strace` holds it to what SECURITY.md says."""
