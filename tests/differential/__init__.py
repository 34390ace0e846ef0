"""Random jobs through the command line against scipy and torch in float64: `make differential`."""
