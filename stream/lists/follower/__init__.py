"""Follow the list store: refresh, install, and keep snapshots on the disk."""
