"""The command line, and running suites on Ray."""
