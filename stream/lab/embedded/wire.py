"""Two questions asked on a bare socket: does a broker answer Metadata, does a Redis answer PING.

No client library: those log errors and retry on their own while a server is still starting.
"""

import socket
import struct

ANSWER_S_MAX = 1.0
METADATA_KEY, METADATA_VERSION = 3, 4


def answers_metadata(port: int) -> bool:
    """Whether a Kafka broker on 127.0.0.1 answers Metadata v4 and names at least one broker."""
    client = b"ringfence-ready"
    # api key, version, correlation id, client id; then no topics, and none to be created
    request = struct.pack(
        f">hhih{len(client)}s", METADATA_KEY, METADATA_VERSION, 1, len(client), client
    )
    request += struct.pack(">i?", 0, False)
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_S_MAX) as connection:
            connection.settimeout(ANSWER_S_MAX)
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _read(connection, 4))
            answer = _read(connection, size)
    except OSError:
        return False
    # correlation id, throttle ms, number of brokers
    _, _, brokers = struct.unpack_from(">iii", answer)
    return bool(brokers > 0)


def answers_ping(port: int) -> bool:
    """Whether a Redis on 127.0.0.1 answers PING (it does not while it loads its data)."""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_S_MAX) as connection:
            connection.settimeout(ANSWER_S_MAX)
            connection.sendall(b"PING\r\n")
            return _read(connection, 7) == b"+PONG\r\n"
    except OSError:
        return False


def _read(connection: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes; ConnectionError (an OSError) when the peer closes before."""
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError(f"closed after {len(data)} of {size} bytes")
        data += part
    return data
