"""How a process follows the list store: refresh, install, and snapshots on its disk."""
