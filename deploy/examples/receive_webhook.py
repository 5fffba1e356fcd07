"""A receiver of Ringfence's webhooks with only Python's standard library: copy what you need.

    RINGFENCE_WEBHOOK_SECRET=whsec_... python receive_webhook.py 8099

Answer 2xx once you have stored the event: it is not sent again. It may arrive twice, with the same
`webhook-id`, which is the decision's id.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

AGE_S_MAX = 300
BODY_BYTES_MAX = 1 << 20


def is_genuine(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> bool:
    """Return whether Ringfence signed this body within the last five minutes."""
    # Proxies written in Go change the case of names: Webhook-Id.
    headers = {name.lower(): value for name, value in headers.items()}
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isascii() or not at.isdigit() or abs(now_s - int(at)) > AGE_S_MAX:
        return False  # a replayed old message
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mine = base64.b64encode(hmac.digest(key, f"{name}.{at}.".encode() + body, hashlib.sha256))
    given = headers.get("webhook-signature", "").split()
    # Several while a secret is replaced. Compared in constant time: guesses learn nothing.
    return any(hmac.compare_digest(b"v1," + mine, one.encode()) for one in given)


class Receiver(BaseHTTPRequestHandler):
    """Print the genuine decisions."""

    def do_POST(self) -> None:
        """Take one event."""
        size = int(self.headers.get("content-length", "0"))
        if not 0 < size <= BODY_BYTES_MAX:
            self.send_error(413)
            return
        body = self.rfile.read(size)
        secret = os.environ["RINGFENCE_WEBHOOK_SECRET"]
        if not is_genuine(secret, dict(self.headers.items()), body, time.time()):
            self.send_error(401)
            return
        event = json.loads(body)
        decision = event.get("data", event)  # structured mode nests it
        sys.stdout.write(f"{decision['decision_id']} {decision['verdict']} {decision['rule']}\n")
        sys.stdout.flush()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write no log line for a request."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
