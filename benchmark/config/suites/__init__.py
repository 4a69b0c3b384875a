"""The suites that come with quadrat, as YAML files."""
