"""Certificates made by openssl: an authority, and what it signs for servers and clients."""

import subprocess
from pathlib import Path

_AUTHORITY = """\
[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""
HOST = "subjectAltName=IP:127.0.0.1"


def authority(folder: Path, name: str = "ca") -> None:
    """`<name>.pem` and `<name>-key.pem`, which sign others."""
    # Python 3.13 and newer trust no authority that does not say what its key is for (RFC 5280,
    # section 4.2.1.3).
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    constraints = ("-addext", "basicConstraints=critical,CA:TRUE")
    _made(folder, name, "-x509", "-days", "2", *constraints, *usage)


def signed(folder: Path, name: str, *extensions: str, by: str = "ca") -> None:
    """`<name>.pem` and `<name>-key.pem`, good for two days."""
    words = [word for extension in extensions for word in ("-addext", extension)]
    signer = ("-CA", f"{by}.pem", "-CAkey", f"{by}-key.pem")
    _made(
        folder, name, "-x509", "-days", "2", *signer, "-addext", "basicConstraints=CA:FALSE", *words
    )


def expired(folder: Path, name: str, extension: str, by: str = "ca") -> None:
    """The same, and nobody may trust it since 2020."""
    _made(folder, name, "-addext", extension, out="csr")
    (folder / "index.txt").write_text("")
    (folder / "authority.cnf").write_text(_AUTHORITY.format(folder=folder))
    dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
    signer = ["-cert", f"{by}.pem", "-keyfile", f"{by}-key.pem"]
    ways = ["-batch", "-notext", "-rand_serial", "-config", "authority.cnf"]
    _openssl(folder, "ca", *ways, *signer, *dates, "-in", f"{name}.csr", "-out", f"{name}.pem")


def on_curve(folder: Path, curve: str) -> None:
    """`<curve>.pem` and its key, signed by itself."""
    _made(folder, curve, "-x509", "-days", "2", curve=curve)


def _made(folder: Path, name: str, *words: str, out: str = "pem", curve: str = "P-256") -> None:
    """A key and its certificate, or the request for one."""
    make = f"-newkey ec -pkeyopt ec_paramgen_curve:{curve} -nodes"
    files = ["-keyout", f"{name}-key.pem", "-out", f"{name}.{out}", "-subj", f"/CN={name}"]
    _openssl(folder, "req", *make.split(), *files, *words)


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)
