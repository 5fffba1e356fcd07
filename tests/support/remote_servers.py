"""Servers of files that others wrote: moto's S3 in a process, asyncssh's SFTP in a thread."""

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import botocore.session
from botocore.config import Config

from stream.lab.embedded.guarded_server import Server, free_ports, new_folder

USER, PASSWORD = "ringfence", "four words of tests"
ACCESS_KEY, SECRET_KEY = "AKIDTESTS", "a secret key of tests"
REGION = "ap-southeast-1"
AWS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


class S3Server:
    """A running S3 at `endpoint`, and `client`, which puts objects there."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        session: Any = botocore.session
        self.client = session.Session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    def bucket(self, name: str) -> str:
        """Make a bucket; return its name."""
        place = {"LocationConstraint": REGION}
        self.client.create_bucket(Bucket=name, CreateBucketConfiguration=place)
        return name

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Put an object."""
        self.client.put_object(Bucket=bucket, Key=key, Body=body)


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """Run moto's server; it ends with us."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with Server("moto", port, new_folder("s3"), command, _answers) as server:
        server.start()
        s3 = S3Server(port)
        yield s3
        s3.client.close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


class SftpServer:
    """A running SFTP server of the folder `root`; `sessions` counts logins."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.sessions = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._server: asyncssh.SSHAcceptor | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def fingerprint(self) -> str:
        """The host key as ssh shows it."""
        return self.host_key.get_fingerprint()

    @property
    def known_host(self) -> str:
        """The host key as ssh-keyscan writes it, without the host."""
        return self.host_key.export_public_key().decode().strip()

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"sftp://{USER}@127.0.0.1:{self.port}{path}"

    def key_file(self, folder: Path) -> str:
        """Write the private key that the server takes; return its path."""
        path = folder / "id_ed25519"
        self.client_key.write_private_key(str(path))
        path.chmod(0o600)
        return str(path)

    def disconnect(self) -> None:
        """End the listener and all connections, and listen again at the same port."""

        async def again() -> None:
            assert self._server is not None
            self._server.close()
            await self._server.wait_closed()
            await self._listen()

        asyncio.run_coroutine_threadsafe(again(), self._loop).result()

    async def _listen(self) -> None:
        server = self

        class Logins(asyncssh.SSHServer):
            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                server.sessions += 1
                return (username, password) == (USER, PASSWORD)

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                server.sessions += 1
                return username == USER and key == server.client_key.convert_to_public()

        class Files(asyncssh.SFTPServer):
            def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
                super().__init__(channel, chroot=str(server.root).encode())

        self._server = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=Logins,
            server_host_keys=[self.host_key],
            sftp_factory=Files,
            allow_scp=False,
        )
        self.port = self._server.get_port()

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def stop(self) -> None:
        """End it."""

        async def end() -> None:
            assert self._server is not None
            self._server.close()
            await self._server.wait_closed()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def running_sftp(root: Path) -> Iterator[SftpServer]:
    """Run an SFTP server of the files below `root`."""
    server = SftpServer(root)
    server.start()
    try:
        yield server
    finally:
        server.stop()
