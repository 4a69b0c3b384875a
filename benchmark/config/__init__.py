"""What is to be run: suites, trials and their identity, studies."""
