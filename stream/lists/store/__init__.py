"""The list store in Redis: heads, bases, changes, audit, promotions and enforcement."""
