"""What every test may ask for, and what none may leave behind: see tests/plugins."""

pytest_plugins = ("tests.plugins.services", "tests.plugins.leftovers")
