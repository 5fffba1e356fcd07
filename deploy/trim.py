"""Remove from an environment what no process of Ringfence loads: `python trim.py SITE_PACKAGES`.

The image's build runs it, and the Debian package's. tests/unit/deploy/test_trim.py imports every
module in a trimmed environment: an upgrade of a package that needs what is named here fails there.
"""

import shutil
import sys
from pathlib import Path

REMOVED = (
    # Places, carriers and time zones of numbers: 43 MB. We read `data`, `shortdata`, and names of
    # countries from `geodata/locale.py`. Its package's `__init__.py` would load all places.
    "phonenumbers/geodata/__init__.py",
    "phonenumbers/geodata/data*.py",
    "phonenumbers/carrierdata",
    "phonenumbers/tzdata",
    # Their makers' tests: 33 MB.
    "llvmlite/tests",
    "numba/tests",
    "numpy/tests",
    "numpy/*/tests",
    # Code for graphics processors, and for the making of extensions.
    "numba/cuda",
    "numpy/f2py",
    "numpy/distutils",
    # Colours for program texts, which rich brings and no command shows: 8 MB.
    "pygments/lexers/_*_builtins.py",
    "pygments/lexers/[a-z]*.py",
)
ONLY = {
    # What AWS' client knows of its 400 services: 27 MB. Files lie in one of them, and credentials
    # come from four.
    "botocore/data": ("*.json", "s3", "signin", "sso", "sso-oidc", "sts"),
    # The page's languages, and what they go by, of all that the CLDR knows: 32 MB.
    "babel/locale-data": tuple(
        f"{code}.dat" for code in ("root", "en", "th", "km", "my", "vi", "zh")
    ),
}
"""Folders of which only these entries are loaded."""
SOURCES = frozenset({".a", ".c", ".cpp", ".h", ".hpp", ".pxd", ".pxi", ".pyi", ".pyx"})
"""Endings of what compilers and type checkers read."""


def trim(site: Path) -> int:
    """Remove it from a site-packages folder; return its bytes."""
    found = [path for pattern in REMOVED for path in site.glob(pattern)]
    for folder, kept in ONLY.items():
        found += {*(site / folder).glob("*")}.difference(*((site / folder).glob(k) for k in kept))
    found += [path for path in site.rglob("*") if path.suffix in SOURCES and path.is_file()]
    return sum(remove(path) for path in found)


def remove(path: Path) -> int:
    """Remove a file with its compiled form, or a folder; return its bytes."""
    if path.is_dir():
        files = [each for each in path.rglob("*") if each.is_file()]
    elif path.exists():
        files = [path, *path.parent.glob(f"__pycache__/{path.stem}.cpython-*.pyc")]
    else:
        return 0  # it went with a folder
    freed = sum(each.stat().st_size for each in files)
    for each in files:
        each.unlink()
    if path.is_dir():
        shutil.rmtree(path)
    return freed


if __name__ == "__main__":
    sys.stdout.write(f"{trim(Path(sys.argv[1])) / 1e6:.0f} MB removed from {sys.argv[1]}\n")
