"""The command line, one verb a file. Nothing imports this package."""
