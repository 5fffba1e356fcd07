"""What the operator writes: the settings, feed files and agreement files."""
