"""A real Prometheus, and small HTTP servers for it to scrape."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

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


class PrometheusServer:
    """A real Prometheus with a folder of its own; it may be killed, and started again where it was."""

    def __init__(self, folder: Path, scrape_configs: Sequence[Mapping[str, object]], *, every: str = "300ms") -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{free_port()}"
        config = {"global": {"scrape_interval": every, "scrape_timeout": every}, "scrape_configs": list(scrape_configs)}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def start(self) -> PrometheusServer:
        """Returns when it answers."""
        assert PROGRAM is not None
        flags = (f"--config.file={self._folder / 'prometheus.yml'}", f"--storage.tsdb.path={self._folder / 'data'}")
        with (self._folder / "prometheus.log").open("ab") as log:
            argv = [PROGRAM, *flags, f"--web.listen-address={self.url.removeprefix('http://')}"]
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        until(lambda: _ready(self.url), 30)
        return self

    def fresh(self, series: str) -> int:
        """Of how many targets it took that series within the last two seconds. It begins to scrape some seconds after it answers."""
        query = urllib.parse.urlencode({"query": f"count(count_over_time({series}[2s]))"})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
        return int(found[0]["value"][1]) if found else 0

    def kill(self) -> None:
        """Returns when it is gone."""
        if self._process:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_prometheus(folder: Path, targets: Mapping[str, Answer]) -> Iterator[str]:
    """The address of a Prometheus that scrapes `targets` three times a second."""
    with ExitStack() as stack:
        ports = [stack.enter_context(http_server(answer)) for answer in targets.values()]
        addresses = [f"127.0.0.1:{port}" for port in ports]
        server = PrometheusServer(folder, [{"job_name": "tradeops", "static_configs": [{"targets": addresses}]}])
        stack.callback(server.kill)
        yield server.start().url


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
