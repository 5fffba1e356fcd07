"""One file per way by which a feed's bytes come in; see `lists/fetch.py` for what each promises."""

from stream.lists.transports.drop import Place
from stream.lists.transports.file import FileSettings, FileTransport
from stream.lists.transports.folder import FolderSettings, FolderTransport
from stream.lists.transports.http import HttpSettings, HttpTransport
from stream.lists.transports.kafka import KafkaFeedSettings, KafkaTransport
from stream.lists.transports.misp_feed import MispFeedSettings, MispFeedTransport
from stream.lists.transports.taxii import TaxiiSettings, TaxiiTransport
from stream.lists.transports.tuf import TufSettings, TufTransport

__all__ = [
    "FileSettings",
    "FileTransport",
    "FolderSettings",
    "FolderTransport",
    "HttpSettings",
    "HttpTransport",
    "KafkaFeedSettings",
    "KafkaTransport",
    "MispFeedSettings",
    "MispFeedTransport",
    "Place",
    "TaxiiSettings",
    "TaxiiTransport",
    "TufSettings",
    "TufTransport",
]
