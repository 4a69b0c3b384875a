"""An S3-compatible server on this machine, and a way to it that can be cut."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

__all__ = ["Network", "s3_bucket"]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def s3_bucket() -> Iterator[Any]:
    """Yield a bucket, a resource of boto3 (which, unlike s3fs, works after a fork); the environment is set for it."""
    port = _free_port()
    names = {"AWS_ACCESS_KEY_ID": "chaos", "AWS_SECRET_ACCESS_KEY": "chaos", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update({**names, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"})
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        import boto3

        bucket = boto3.resource("s3").Bucket("chaos")
        for _ in range(240):
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                time.sleep(0.25)
        bucket.create()
        yield bucket
    finally:
        server.kill()
        server.wait()


class Network:
    """Forwards connections to a server on this machine. While it is cut, nothing comes through and nothing is refused.

    Args:
        port: Of the server.
    """

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._is_whole = threading.Event()
        self._is_whole.set()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Return the address that is forwarded."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Let nothing through from now on: what was sent before may have arrived, its answer has not."""
        self._is_whole.clear()

    def heal(self) -> None:
        """Let new connections through; those that were open during the cut are reset."""
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):  # closed by now
                end.shutdown(socket.SHUT_RDWR)
        self._is_whole.set()

    def close(self) -> None:
        """Accept no more connections."""
        self.heal()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        self._is_whole.wait()
        with contextlib.suppress(OSError):  # either side has closed
            server = socket.create_connection(self._server)
            self._ends += [client, server]
            threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
            self._copy(client, server)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either side has closed
            while data := source.recv(65536):
                if not self._is_whole.is_set():
                    self._is_whole.wait()
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
