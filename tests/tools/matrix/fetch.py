"""Programs of other versions, in a cache: from Debian's archive, unpacked beside the system's.

Nothing is installed. A program is started by its own loader with its own libraries, so that it runs
on an older Debian too.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from stream.lab.embedded import Unavailable, apache_kafka
from tests.tools.matrix.versions import PACKAGES, ROOT, Version

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
ARCHIVE = "http://deb.debian.org/debian"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ringfence" / "matrix"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_RUN = """\
#!/bin/sh
exec {root}/usr/lib64/ld-linux-x86-64.so.2 --library-path {root}/{libraries} \\
    --argv0 "$0" {root}/{program} "$@"
"""


class NotHad(Exception):
    """A version cannot be had here; the message says why."""


def run(*command: str | Path, **environment: str) -> str:
    """Run a command and return what it printed. Raises NotHad with its last words."""
    told = [str(word) for word in command]
    done = subprocess.run(
        told, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | environment
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise NotHad(f"{' '.join(told[:3])} ...: {' / '.join(said) or 'failed'}")
    return done.stdout


def fetch_kafka(version: Version) -> None:
    """Let Maven fetch the version's jars into the cache of embedded brokers."""
    apache_kafka.VERSION = version.source[0]
    try:
        apache_kafka.jars()
    except Unavailable as error:
        raise NotHad(str(error)) from error


def redis_folder(version: Version) -> Path:
    """Return a folder that has the version's server as `redis-server`, for PATH."""
    package = PACKAGES[version.program]
    root = _from_debian(version, package, package)
    folder = root / "shims"
    folder.mkdir(exist_ok=True)
    _starter(root, f"usr/bin/{package}", folder / "redis-server")
    shown = run(folder / "redis-server", "--version")
    found = re.search(r"v=([\d.]+)", shown)
    _check(version, found[1] if found else shown)
    return folder


def python(version: Version) -> Path:
    """Return the version's Python in an environment with our packages; this one if it fits."""
    if version.number == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return Path(sys.executable)
    home = _CACHE / f"python-{version.number}"
    made = home / "bin" / "python"
    done = home / ".complete"
    wanted = (ROOT / "requirements.txt").read_text()
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        run(_installed_python(version), "-m", "venv", "--without-pip", home)
        _pip(made, "--require-hashes", "-r", "requirements.txt")
        done.write_text(wanted)
    # Of this very tree: several trees share a cache.
    _pip(made, "--no-deps", "--no-build-isolation", "-e", ".")
    _check(version, run(made, "-c", "import platform; print(platform.python_version())").strip())
    return made


def _pip(made: Path, *words: str) -> None:
    """Install by the pip of this Python: Debian's brings none."""
    quiet = ("-q", "--disable-pip-version-check", *words)
    run(sys.executable, "-m", "pip", "--python", made, "install", *quiet)


def _installed_python(version: Version) -> Path:
    """Return the machine's Python of a version, else Debian's."""
    name = f"python{version.number}"
    # A shim of pyenv's is found in PATH too, and fails where no version is chosen.
    pyenv = Path(run("pyenv", "root").strip()) if shutil.which("pyenv") else _CACHE
    homes = pyenv.glob(f"versions/{version.number}.*/bin/{name}")
    for found in (*sorted(homes), shutil.which(name)):
        if found and _is_python(Path(found), version):
            return Path(found)
    if not version.source:
        raise NotHad(f"no {name} on this machine, and none in Debian")
    root = _from_debian(version, name, f"{name}-venv")
    program, kept = root / "usr" / "bin" / name, root / "usr" / "bin" / f"{name}.program"
    if not kept.exists():
        program.rename(kept)
    # Under the name that it had: Python finds its modules by where it was started.
    _starter(root, f"usr/bin/{kept.name}", program)
    return program


def _is_python(path: Path, version: Version) -> bool:
    asked = [str(path), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() == version.number


def _check(version: Version, number: str) -> None:
    if not f"{number}.".startswith(f"{version.number}."):
        raise NotHad(f"what was found is {number}")


def _starter(root: Path, program: str, path: Path) -> None:
    """Write a script that starts a program of `root`."""
    path.write_text(_RUN.format(root=root, libraries=_LIBRARIES, program=program))
    path.chmod(0o755)


def _from_debian(version: Version, name: str, package: str) -> Path:
    """Return a folder with a package and all that it needs. Raises NotHad."""
    said = [f"{package} is in no suite that is asked"]
    for suite in version.source:
        root = _CACHE / f"{suite}-{name}"
        complete = root / ".complete"
        try:
            if not complete.exists():
                shutil.rmtree(root, ignore_errors=True)
                _unpack(suite, package, root, version)
                complete.touch()
        except NotHad as reason:
            said.append(f"{suite}: {reason}")
        else:
            return root
    raise NotHad("; ".join(said[1:] or said))


def _unpack(suite: str, package: str, root: Path, version: Version) -> None:
    """Fetch by apt, with lists and status of its own, and unpack beside each other."""
    apt = root / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "sources.list").write_text(f"deb [signed-by={KEYRING}] {ARCHIVE} {suite} main\n")
    (apt / "status").touch()
    settings = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "Dir::Cache::archives": apt / "archives",
        "APT::Sandbox::User": "root",
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    run("apt-get", *options, "-qq", "update")
    policy = run("apt-cache", *options, "policy", package)
    found = re.search(r"Candidate: (?:\d+:)?(\S+)", policy)
    _check(version, re.split(r"[-+~]", found[1])[0] if found else "nothing")
    fetch = ("-qq", "-y", "--no-install-recommends", "--download-only", "install", package)
    run("apt-get", *options, *fetch)
    # As newer suites have it: the loader is in one place then.
    for folder in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / folder).mkdir(parents=True, exist_ok=True)
        (root / folder).symlink_to(f"usr/{folder}")
    for deb in sorted((apt / "archives").glob("*.deb")):
        # `dpkg-deb -x` would put folders in place of the links.
        unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"'
        run("sh", "-c", unpack, "unpack", deb, root)
    shutil.rmtree(apt)
