"""A folder that we may not list, also for tests that run as root, who may list each."""

import os
from errno import EACCES
from pathlib import Path
from typing import Any

import pytest


def forbidden(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> None:
    """Refuse to list `folder`; `more`: other functions of os that are refused for it."""
    for name in ("listdir", "scandir", *more):
        whole = getattr(os, name)

        def refuses(path: Any = ".", whole: Any = whole, **named: Any) -> Any:
            if not isinstance(path, int) and Path(path) == folder:
                raise PermissionError(EACCES, os.strerror(EACCES), str(path))
            return whole(path, **named)

        monkeypatch.setattr(os, name, refuses)
