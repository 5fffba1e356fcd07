"""The commands of an operator, a group of them a file; `stream.cli.main` puts them together."""
