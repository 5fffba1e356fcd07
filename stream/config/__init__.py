"""The operator's files: settings, feed files and agreement files."""
