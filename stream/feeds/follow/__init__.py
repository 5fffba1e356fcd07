"""Follow feeds: fetch each on its schedule, and work on its versions in processes of their own."""
