"""One file per way by which a feed's bytes come in; see `lists/fetch.py` for what each promises."""

from stream.feeds.transports.drop import Place
from stream.feeds.transports.file import FileSettings, FileTransport
from stream.feeds.transports.folder import FolderSettings, FolderTransport
from stream.feeds.transports.http import HttpSettings, HttpTransport
from stream.feeds.transports.kafka import KafkaFeedSettings, KafkaTransport
from stream.feeds.transports.misp_feed import MispFeedSettings, MispFeedTransport
from stream.feeds.transports.taxii import TaxiiSettings, TaxiiTransport
from stream.feeds.transports.tuf import TufSettings, TufTransport

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
