"""One file per way by which a feed's bytes come in; see `lists/fetch.py` for what each promises."""

from stream.lists.transports.file import FileSettings, FileTransport

__all__ = ["FileSettings", "FileTransport"]
