"""The command: parts in their order, and what each has to be before the next is begun."""

import argparse
import platform
import re
import shutil
import sys
from hashlib import sha256
from pathlib import Path

from stream import __version__
from tests.tools.release import debian_package
from tests.tools.release.programs import RELEASE, ROOT, BuildFailed, go_program, run, say, wheel

TAG = f"v{__version__}"
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
NAMESPACE = "ringfence-release"
"""Of the signature: one that was made for something else does not count."""
PARTS = ("deb", "chart", "image")


def notes(changelog: str, version: str) -> str:
    """The section of `version`. Raises BuildFailed where it is missing, or news stands above it."""
    found = re.finditer(r"(?ms)^## (\S+)[^\n]*\n(.*?)(?=^## |\Z)", changelog)
    sections = {section[1]: section[2] for section in found}
    if not sections.get(version, "").strip():
        raise BuildFailed(
            f"CHANGELOG.md has no section {version}: write what changes for operators"
        )
    if sections.get("Unreleased", "").strip():
        raise BuildFailed(f"CHANGELOG.md: move what is under Unreleased into the section {version}")
    return sections[version].strip() + "\n"


def checked_tag() -> None:
    """Check that HEAD is the tag of this version, and that nothing else is in the working tree."""
    if TAG not in run("git", "tag", "--points-at", "HEAD").split():
        raise BuildFailed(f"HEAD is not {TAG}: git tag -s {TAG}, or correct stream/__init__.py")
    if changed := run("git", "status", "--porcelain"):
        raise BuildFailed(f"the working tree is not the tag's:\n{changed}")


def checked_wheel() -> None:
    """Make the wheel twice, compare, and install it where nothing else is but its packages."""
    made, again = wheel(RELEASE), wheel(ROOT / "build" / "again")
    if made.read_bytes() != again.read_bytes():
        raise BuildFailed(f"two builds of {made.name} differ")
    empty = ROOT / "build" / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    run(sys.executable, "-m", "venv", empty)
    python = empty / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "--require-hashes", "-r", "deploy/requirements.txt")
    run(python, "-m", "pip", "install", "-q", "--no-deps", made)
    said = run(empty / "bin" / "ringfence", "--version").strip()
    if said != f"ringfence {__version__}":
        raise BuildFailed(f"{made.name} says {said}")
    run(empty / "bin" / "ringfence", "check-config", RINGFENCE_CONFIG="")
    sbom(empty)


def sbom(environment: Path) -> None:
    """List the packages of an environment, by CycloneDX' own program in one of its own."""
    tools = ROOT / "build" / "sbom"
    run(sys.executable, "-m", "venv", "--clear", tools)
    lock = "deploy/requirements-build.txt"
    run(tools / "bin" / "python", "-m", "pip", "install", "-q", "--require-hashes", "-r", lock)
    run(
        tools / "bin" / "cyclonedx-py", "environment", "--output-format", "JSON",
        "--output-reproducible", "--output-file", RELEASE / f"ringfence-{__version__}.cdx.json",
        environment / "bin" / "python",
    )  # fmt: skip


def image(base: str) -> None:
    """Build the image by buildah into an archive, as `docker load` and `podman load` take it.

    In Docker's format: OCI's has no HEALTHCHECK, and buildah would leave it out without an error.
    """
    if not shutil.which("buildah"):
        raise BuildFailed(
            "buildah is not there (Debian: apt-get install buildah), or --without image"
        )
    name = f"ringfence:{__version__}"
    given = ("--build-arg", f"BASE={base}") if base else ()
    form = ("--format", "docker", "--timestamp", "0")
    run("buildah", "bud", *form, *given, "-f", "deploy/Dockerfile", "-t", name, ".")
    archive = RELEASE / f"ringfence-{__version__}-image-{platform.machine()}.tar"
    run("buildah", "push", name, f"docker-archive:{archive}:{name}")


def sums() -> Path:
    """Write SHA256SUMS of all that lies in the folder."""
    lines = [
        f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(RELEASE.iterdir())
    ]
    written = RELEASE / "SHA256SUMS"
    written.write_text("".join(lines))
    run("sh", "-c", f"cd '{RELEASE}' && sha256sum --check --strict --quiet SHA256SUMS")
    return written


def signed(written: Path, key: Path) -> None:
    """Sign the checksums, and verify it as a reader will: by the public key beside them."""
    run("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, written)
    public = key.with_name(f"{key.name}.pub").read_text().split()[:2]
    signers = RELEASE / "allowed_signers"
    signers.write_text(f'releases namespaces="{NAMESPACE}" {" ".join(public)}\n')
    run(
        "sh", "-c",
        f"ssh-keygen -Y verify -f '{signers}' -I releases -n {NAMESPACE} "
        f"-s '{written}.sig' < '{written}'",
    )  # fmt: skip


def main() -> None:
    """Build it; raises BuildFailed."""
    parser = argparse.ArgumentParser(prog="make release RELEASE_ARGS=...", description=__doc__)
    parser.add_argument("--key", type=Path, help="an SSH private key, whose .pub lies beside it")
    parser.add_argument("--unsigned", action="store_true", help="for a trial: without a signature")
    parser.add_argument("--without", action="append", default=[], choices=PARTS)
    parser.add_argument("--base", default="", help="the image's base, where the usual one is not")
    options = parser.parse_args()
    if not options.key and not options.unsigned:
        raise BuildFailed("--key FILE names the SSH key that signs it; --unsigned is for a trial")
    checked_tag()
    text = notes((ROOT / "CHANGELOG.md").read_text(), __version__)
    shutil.rmtree(RELEASE, ignore_errors=True)
    RELEASE.mkdir(parents=True)
    (RELEASE / "NOTES.md").write_text(text)
    say("wheel, twice, into an empty environment; list of packages")
    checked_wheel()
    if "deb" not in options.without:
        say("Debian package")
        run("dpkg-deb", "--info", debian_package.debian_package())
    if "chart" not in options.without:
        say("chart")
        helm = go_program("helm", HELM)
        chart = ROOT / "deploy" / "helm" / "ringfence"
        run(helm, "lint", "--strict", chart)
        run(helm, "package", chart, "--version", __version__, "--app-version", __version__,
            "--destination", RELEASE)  # fmt: skip
    if "image" not in options.without:
        say("image")
        image(options.base)
    written = sums()
    if options.key:
        signed(written, options.key)
    left = f" without {', '.join(options.without)}" if options.without else ""
    say(
        f"{RELEASE}: {TAG}{left}, {'signed' if options.key else 'NOT signed'}; nothing was uploaded"
    )


if __name__ == "__main__":
    try:
        main()
    except BuildFailed as error:
        sys.exit(f"make release: {error}")
