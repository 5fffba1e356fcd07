"""Helpers of the tests: material, servers and fakes. It holds no test."""
