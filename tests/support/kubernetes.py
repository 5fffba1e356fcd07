"""A real Kubernetes API server with its etcd, and no node: it checks objects, and runs none.

Both are built or installed by hand; docs/decisions/0139-helm-chart.md says how. RINGFENCE_CRDS is a
folder with the operators' CustomResourceDefinitions; without it, it is taken to have none.
"""

import json
import os
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from stream.lab.embedded.guarded_server import Server, free_ports, new_folder
from tests.support.waiting import until_now

_TOKEN = "a-token-of-tests"
_ANSWER_S = 30.0


class Refused(Exception):
    """The API server's own words on what it does not take."""


class ApiServer:
    """A running one."""

    def __init__(self, port: int) -> None:
        self._base = f"https://127.0.0.1:{port}"
        self._paths: dict[tuple[str, str], tuple[str, bool]] = {}

    def asks(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        method: str | None = None,
        content: str = "application/json",
    ) -> tuple[Any, list[str]]:
        """An answer, and its warnings. Raises Refused."""
        request = urllib.request.Request(
            self._base + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {_TOKEN}", "Content-Type": content},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S, context=_unchecked()) as answer:
                return json.load(answer), answer.headers.get_all("Warning") or []
        except urllib.error.HTTPError as error:
            with error:
                # JSON, but for a path that nobody serves yet.
                raise Refused(error.read().decode()) from error

    def knows(self, thing: Mapping[str, Any]) -> bool:
        """True if it serves objects of this kind."""
        return self._kind(thing) is not None

    def takes(self, thing: Mapping[str, Any], namespace: str, *, dry: bool = True) -> list[str]:
        """Create an object; with `dry` it only says whether it would. The warnings; raises Refused.

        A field that the kind does not have is refused.
        """
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry else "")
        return self.asks(self._place(thing, namespace) + query, thing)[1]

    def applies(self, thing: Mapping[str, Any], namespace: str) -> None:
        """Create an object or change it to this one, as `helm upgrade` does. Raises Refused."""
        where = f"{self._place(thing, namespace)}/{thing['metadata']['name']}"
        content = "application/apply-patch+yaml"
        self.asks(f"{where}?fieldManager=helm&force=true", thing, "PATCH", content)

    def _place(self, thing: Mapping[str, Any], namespace: str) -> str:
        kind = self._kind(thing)
        assert kind is not None, f"{thing['apiVersion']} {thing['kind']} is not served"
        where, namespaced = kind
        if not namespaced:
            return where
        head, _, plural = where.rpartition("/")
        return f"{head}/namespaces/{namespace}/{plural}"

    def _kind(self, thing: Mapping[str, Any]) -> tuple[str, bool] | None:
        """The path of a kind's objects, and whether they are of namespaces."""
        version, kind = thing["apiVersion"], thing["kind"]
        if (version, kind) not in self._paths:
            base = f"/apis/{version}" if "/" in version else f"/api/{version}"
            try:
                found = self.asks(base)[0]["resources"]
            except Refused:
                return None
            for one in found:
                if "/" not in one["name"]:
                    at = f"{base}/{one['name']}"
                    self._paths[version, one["kind"]] = (at, one["namespaced"])
        return self._paths.get((version, kind))


def _unchecked() -> ssl.SSLContext:
    """Its certificate is its own, made at its start, on this machine."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _answers(url: str, port: int) -> bool:
    request = urllib.request.Request(
        url.format(port=port), headers={"Authorization": f"Bearer {_TOKEN}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5, context=_unchecked()) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """A running one, with the operators' kinds as far as there are any."""
    folder = new_folder("kubernetes")
    store, peers, port = free_ports(3)
    (folder / "tokens").write_text(f"{_TOKEN},admin,1,system:masters\n")
    subprocess.run(
        ["openssl", "genrsa", "-out", str(folder / "accounts"), "2048"],
        check=True,
        capture_output=True,
    )
    etcd = [
        "etcd",
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls=http://127.0.0.1:{store}",
        f"--advertise-client-urls=http://127.0.0.1:{store}",
        f"--listen-peer-urls=http://127.0.0.1:{peers}",
        "--unsafe-no-fsync",
    ]
    server = [
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{store}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder}/certificates",
        f"--token-auth-file={folder}/tokens",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/accounts",
        f"--service-account-signing-key-file={folder}/accounts",
        "--service-cluster-ip-range=10.96.0.0/16",
        # No controller makes accounts here; and none of their tokens is wanted.
        "--disable-admission-plugins=ServiceAccount",
    ]
    try:
        with ExitStack() as stack:
            for title, at, command, page in (
                ("etcd", store, etcd, "http://127.0.0.1:{port}/health"),
                ("kube-apiserver", port, server, "https://127.0.0.1:{port}/readyz"),
            ):
                own = new_folder(title)
                made = stack.enter_context(Server(title, at, own, command, partial(_answers, page)))
                made.start()
            api = ApiServer(port)
            _operators(api)
            yield api
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _operators(api: ApiServer) -> None:
    """Make the kinds of RINGFENCE_CRDS, and wait until they are served."""
    folder = os.environ.get("RINGFENCE_CRDS", "")
    for path in sorted(Path(folder).glob("*.yaml")) if folder else ():
        made = yaml.safe_load(path.read_text())
        api.takes(made, "default", dry=False)
        spec = made["spec"]
        for version in spec["versions"]:
            thing = {
                "apiVersion": f"{spec['group']}/{version['name']}",
                "kind": spec["names"]["kind"],
            }
            until_now(partial(api.knows, thing), f"{thing} is served")
