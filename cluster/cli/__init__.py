"""The command line `quadrat`: one module a group of commands."""
