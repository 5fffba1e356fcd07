"""What every test may ask for: a broker, a Redis; and what none may leave behind (tests/plugins)."""

pytest_plugins = ("tests.plugins.services", "tests.plugins.leftovers")
