"""Commands about lists, the allowlist and the audit."""
