"""Files that nobody here made, through the command line: `make test-corpora` writes ``results.md``."""
