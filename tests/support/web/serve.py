"""A small HTTP service: says which release it is, whether it is well, and greets everybody else, at /slow after two seconds."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    """GET /identity, /health, and anything."""

    def do_GET(self) -> None:
        if self.path == "/slow":
            threading.Event().wait(2)
        body = self._body().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> str:
        release = os.environ["TRADEOPS_RELEASE"]
        if self.path != "/identity":
            return "well" if self.path == "/health" else release
        said = {name: os.environ[f"TRADEOPS_{name.upper()}"] for name in ("release", "binding", "slot")}
        return json.dumps({**said, "pid": os.getpid()})

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


def main() -> None:
    """Serve until SIGTERM."""
    server = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Answer)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
