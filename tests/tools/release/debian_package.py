"""Build the Debian package into build/release: `make deb`, on the Debian that it is for.

Its environment is Debian's own Python with the packages of the image's lock. nfpm packs it: taken
from PATH, else built by Go into the user's cache.
"""

import shutil
import sys
from pathlib import Path

from stream import __version__
from stream.config.starting import SiteChoices, starting_settings
from tests.tools.release.programs import RELEASE, ROOT, BuildFailed, go_program, run, say, wheel

BUILD = ROOT / "build" / "deb"
PYTHON = Path("/usr/bin/python3")
PREFIX = Path("/opt/ringfence")
NFPM = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4"


def environment() -> None:
    """Fill `build/deb/opt/ringfence`: a virtual environment that believes to be at its place."""
    place = BUILD / PREFIX.relative_to("/")
    run(PYTHON, "-m", "venv", place)
    pip = (place / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
    wanted = f"ringfence=={__version__}"
    lock = ROOT / "deploy" / "requirements.txt"
    run(*pip, "--no-compile", "--require-hashes", "--only-binary", ":all:", "-r", lock)
    # By its version and not by its path, which would stand in direct_url.json for ever.
    run(*pip, "--no-compile", "--no-deps", "--no-index", "--find-links", BUILD, wanted)
    run(place / "bin" / "python", "-m", "pip", "uninstall", "-q", "--yes", "pip", "setuptools")
    (site,) = place.glob("lib/python3*/site-packages")
    run(PYTHON, ROOT / "deploy" / "trim.py", site)
    for cache in list(place.rglob("__pycache__")):
        shutil.rmtree(cache)
    for path in ((place / "pyvenv.cfg"), *(place / "bin").iterdir()):
        if path.is_symlink():
            continue
        text = path.read_bytes()
        path.write_bytes(text.replace(str(place).encode(), str(PREFIX).encode()))


def debian_package() -> Path:
    """Build it. Raises BuildFailed."""
    if not PYTHON.exists():
        raise BuildFailed(f"{PYTHON} is not there: the package is built on the Debian it is for")
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    RELEASE.mkdir(exist_ok=True)
    wheel(BUILD)
    environment()
    site = SiteChoices(
        Path("/etc/ringfence"),
        Path("/var/lib/ringfence"),
        kernels=Path("/var/cache/ringfence/kernels"),
    )
    (BUILD / "ringfence.toml").write_text(starting_settings(site))
    minor = int(run(PYTHON, "-c", "import sys; print(sys.version_info[1])"))
    architecture = run("dpkg", "--print-architecture").strip()
    packed = RELEASE / f"ringfence_{__version__}_{architecture}.deb"
    run(
        go_program("nfpm", NFPM), "package", "--packager", "deb",
        "--config", "deploy/debian/nfpm.yaml", "--target", packed,
        VERSION=__version__, DEB_ARCH=architecture,
        PYTHON_FROM=f"3.{minor}", PYTHON_BEFORE=f"3.{minor + 1}",
    )  # fmt: skip
    return packed


if __name__ == "__main__":
    try:
        say(str(debian_package()))
    except BuildFailed as error:
        sys.exit(f"make deb: {error}")
