"""Lists as they are kept: in Redis (`store`), in files (`snapshot`), in a process (`follower`)."""
