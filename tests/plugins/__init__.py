"""Our pytest plugins: what the tests run against, and what no test may leave behind."""
