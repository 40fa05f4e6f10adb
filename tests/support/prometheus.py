"""A real Prometheus, and small HTTP servers for it to scrape."""

from __future__ import annotations

import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.sshd import free_port
from tests.support.wait import until

PROGRAM = shutil.which("prometheus")
Answer = Callable[[str, bytes], "tuple[int, bytes] | None"]
"""(path, body) -> status and body; None: the connection is dropped without an answer."""


@contextmanager
def http_server(answer: Answer) -> Iterator[int]:
    """The port of a server on loopback that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if (found := answer(self.path, body)) is not None:
                self.wfile.write(b"HTTP/1.0 %d -\r\nContent-Length: %d\r\n\r\n" % (found[0], len(found[1])) + found[1])

        do_POST = do_GET  # noqa: N815  # the library's name for it

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running_prometheus(folder: Path, targets: Mapping[str, Answer]) -> Iterator[str]:
    """The address of a Prometheus that scrapes `targets` three times a second."""
    assert PROGRAM is not None
    with ExitStack() as stack:
        ports = [stack.enter_context(http_server(answer)) for answer in targets.values()]
        addresses = ", ".join(f"'127.0.0.1:{port}'" for port in ports)
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 300ms, scrape_timeout: 300ms}\n"
            f"scrape_configs: [{{job_name: tradeops, static_configs: [{{targets: [{addresses}]}}]}}]\n"
        )
        url = f"http://127.0.0.1:{free_port()}"
        with (folder / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [PROGRAM, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={url[7:]}"],
                stdout=log,
                stderr=log,
            )
        stack.callback(process.wait)
        stack.callback(process.kill)
        until(lambda: _ready(url), 30)
        yield url


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
