"""A plain web server of one folder, as any country may use; it can be misled, and switched off."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Web:
    """Serves `folder`, which may be exchanged while it runs, on a port of 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Its address; the same after it was switched off and on."""
        assert self._port, "it was never switched on"
        return f"http://127.0.0.1:{self._port}"

    def on(self) -> None:
        """Serve; may be called twice."""
        if self._server is not None:
            return
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), partial(_Files, self))
        self._port = self._server.server_address[1]
        serving = partial(self._server.serve_forever, 0.05)
        self._thread = threading.Thread(target=serving, daemon=True)
        self._thread.start()

    def off(self) -> None:
        """Answer nobody any more; may be called twice."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None


class _Files(SimpleHTTPRequestHandler):
    """The standard library's, of the folder that the `Web` has now."""

    def __init__(self, web: Web, *args: object) -> None:
        super().__init__(*args, directory=str(web.folder))  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
