"""A server of files on this machine: with ranges, entity tags, redirections, broken connections, and a small hub."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclasses.dataclass
class FileServer:
    """What is served: ``files`` by path, ``moved`` paths, repositories of ``hub``; ``asked`` lists (path, headers).

    ``sent`` counts the bytes of bodies. ``ranges`` and ``tags`` switch these off; ``cut`` closes the connection after
    so many bytes of a body.
    """

    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    moved: dict[str, str] = dataclasses.field(default_factory=dict)
    hub: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)
    ranges: bool = True
    tags: bool = True
    cut: int | None = None
    asked: list[tuple[str, dict[str, str]]] = dataclasses.field(default_factory=list)
    sent: int = 0
    address: str = ""

    def answer_hub(self, path: str) -> bytes | None:
        """The hub's description of a repository, as its library asks for it."""
        match = re.fullmatch(r"/api/models/([^?]+?)(?:/revision/[^?]+)?(?:\?.*)?", path)
        if match is None or match[1] not in self.hub:
            return None
        siblings = [
            {"rfilename": name, "size": len(data), "lfs": {"sha256": sha256(data), "size": len(data), "pointerSize": 1}}
            for name, data in self.hub[match[1]].items()
        ]
        return json.dumps({"id": match[1], "sha": REVISION, "siblings": siblings, "tags": []}).encode()

    def find(self, path: str) -> bytes | None:
        """The content at ``path``."""
        if path in self.files:
            return self.files[path]
        match = re.fullmatch(r"/(\w+/[^/]+)/resolve/[^/]+/(.+)", path)
        return self.hub.get(match[1], {}).get(match[2]) if match else None


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: FileServer

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        served = self.served
        served.asked.append((self.path, dict(self.headers)))
        if self.path in served.moved:
            self._say(302, {"Location": served.moved[self.path], "Content-Length": "0"})
            return
        described = served.answer_hub(self.path)
        data = described if described is not None else served.find(self.path)
        if data is None:
            self._say(404, {"Content-Length": "0"})
            return
        headers: dict[str, Any] = {"X-Repo-Commit": REVISION, "Content-Type": "application/octet-stream"}
        tag = f'"{sha256(data)}"'
        headers |= {"ETag": tag} if served.tags else {}
        status, begin = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and served.ranges and self.headers.get("If-Range", tag) == tag:
            begin = int(asked[1])
            if begin >= len(data):
                self._say(416, {"Content-Length": "0"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        body = data[begin:]
        self._say(status, {**headers, "Content-Length": str(len(body))})
        if self.command == "HEAD":
            return
        whole = served.cut is None or described is not None
        body = body if whole else body[: served.cut]
        served.sent += len(body)  # before the client has it: a test may ask as soon as the download has ended
        with contextlib.suppress(OSError):
            self.wfile.write(body)
        self.close_connection = self.close_connection or not whole

    def _say(self, status: int, headers: dict[str, Any]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing on stderr."""


@contextlib.contextmanager
def serve() -> Iterator[FileServer]:
    """Serve for the block, on a free port of this machine."""
    served = FileServer()
    handler = type("Handler", (_Handler,), {"served": served})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    """A server that is the hub, too, for calls in ``tmp_path``, where the hub's library keeps what it fetches."""
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        template = served.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield served
