"""The way out: batches go to the brokers, in one turn where nothing has to wait."""
