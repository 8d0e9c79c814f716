"""A small hub on 127.0.0.1 that answers as the real one does, for tests of what is fetched from there and what fails.

Files in git have the sha1 of their git blob as etag; weights lie in large file storage, whose etag is the sha256 of
their content, and are handed out by another host.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = ".safetensors"


class LoopbackHub:
    """Repositories by id, each a folder, and what goes wrong with them.

    Attributes:
        repositories: the folder of each id.
        gated: ids whose files are for those who were admitted.
        refuses_tokens: whether every token is unknown.
        down: the status that everything is answered with; 0 for none.
        silent: whether requests are taken and never answered.
        stops_after: bytes of a large file after which nothing more comes; None for all of it.
        closes_after: bytes of an answer with a large file after which the connection is closed; None for all of it.
        down_files: the status that every file is answered with; 0 for none.
        spoils: what becomes of a large file's content on its way.
        asked: method and path of every request.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.refuses_tokens, self.silent, self.down = False, False, 0
        self.stops_after: int | None = None
        self.closes_after: int | None = None
        self.down_files = 0
        self.spoils: Callable[[bytes], bytes] = bytes
        self.asked: list[tuple[str, str]] = []
        self.closing = threading.Event()
        self.url = self.storage = ""

    def downloads(self) -> set[str]:
        """The files whose content was asked for."""
        places = (
            path.partition(mark)[2] for verb, path in self.asked if verb == "GET" for mark in ("/-/", f"/{COMMIT}/")
        )
        return {place for place in places if place}

    def content(self, repository: str, name: str) -> bytes | None:
        path = self.repositories[repository] / name
        return path.read_bytes() if path.is_file() else None

    def files(self, repository: str) -> dict[str, bytes]:
        folder = self.repositories[repository]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def running() -> Iterator[LoopbackHub]:
    """Serve an empty hub for as long as it is used."""
    hub = LoopbackHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads, server.block_on_close = True, False
    hub.url, hub.storage = (f"http://{host}:{server.server_port}" for host in ("127.0.0.1", "localhost"))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path))
        if self.hub.silent:
            self.hub.closing.wait(120)
        elif self.hub.down:
            self._send(self.hub.down, b"{}")
        elif self.hub.refuses_tokens and "Authorization" in self.headers:
            self._send(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif path.startswith("/storage/"):
            repository, name = path.removeprefix("/storage/").split("/-/")
            self._send_large(self.hub.spoils(self.hub.content(repository, name) or b""))
        elif path.startswith("/api/models/"):
            owner, name, *rest = path.removeprefix("/api/models/").split("/")
            self._api(f"{owner}/{name}", rest)
        else:
            repository, _, rest = path.removeprefix("/").partition("/resolve/")
            if self.hub.down_files:
                self._send(self.hub.down_files, b"{}")
                return
            self._resolve(repository, rest.partition("/")[2])

    def _api(self, repository: str, rest: list[str]) -> None:
        if repository not in self.hub.repositories:
            self._missing()
            return
        files = self.hub.files(repository).items()
        if rest[:1] == ["tree"]:
            self._json([{"type": "file", "path": name, **_entry(name, content)} for name, content in files])
            return
        siblings = []
        for name, content in files:
            entry = _entry(name, content)
            large = entry.get("lfs")
            about = {"rfilename": name, "size": entry["size"], "blobId": entry["oid"]}
            siblings.append(about | ({"lfs": {"sha256": large["oid"], **large}} if large else {}))
        gated = "auto" if repository in self.hub.gated else False
        about = {"_id": "0", "id": repository, "modelId": repository, "sha": COMMIT, "private": False, "gated": gated}
        self._json(about | {"tags": [], "downloads": 0, "siblings": siblings})

    def _resolve(self, repository: str, name: str) -> None:
        if repository not in self.hub.repositories:
            self._missing()
            return
        content = self.hub.content(repository, name)
        headers = {"X-Repo-Commit": COMMIT}
        if repository in self.hub.gated:
            known = "Authorization" in self.headers
            self._send(403 if known else 401, b"{}", headers | {"X-Error-Code": "GatedRepo"})
        elif content is None:
            self._send(404, b"{}", headers | {"X-Error-Code": "EntryNotFound"})
        elif name.endswith(LARGE):
            linked = {"X-Linked-Etag": f'"{sha256(content)}"', "X-Linked-Size": str(len(content))}
            place = {"Location": f"{self.hub.storage}/storage/{repository}/-/{name}"}
            self._send(302, b"", headers | linked | place)
        else:
            self._send(200, content, headers | {"ETag": f'"{git_oid(content)}"'})

    def _missing(self) -> None:
        """As the real one: who did not log in is not told whether it is missing or private."""
        known = "Authorization" in self.headers
        code = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
        anonymous = {"X-Error-Message": "Invalid username or password."}
        self._send(404 if known else 401, b'{"error":"Repository not found"}', code if known else anonymous)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send_large(self, content: bytes) -> None:
        """Content from where the client wants it, up to where the hub stops."""
        size, begin = len(content), 0
        if asked := self.headers.get("Range"):
            begin = int(asked.removeprefix("bytes=").partition("-")[0])
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{sha256(content)}"'}
        if begin >= size > 0:
            self._send(416, b"", headers | {"Content-Range": f"bytes */{size}"})
            return
        partial = {"Content-Range": f"bytes {begin}-{size - 1}/{size}"} if asked else {}
        self._send(206 if asked else 200, content[begin:], headers | partial, large=True)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, large: bool = False) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        stops, closes = (self.hub.stops_after, self.hub.closes_after) if large else (None, None)
        self.wfile.write(body[:stops][:closes])
        self.wfile.flush()
        if stops is not None and stops < len(body):
            self.hub.closing.wait(120)
        self.close_connection = closes is not None and closes < len(body)


def _entry(name: str, content: bytes) -> dict[str, object]:
    """What the hub's list says of a file: for large ones the oid is that of the pointer in git."""
    if not name.endswith(LARGE):
        return {"oid": git_oid(content), "size": len(content)}
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(content)}\nsize {len(content)}\n".encode()
    )
    large = {"oid": sha256(content), "size": len(content), "pointerSize": len(pointer)}
    return {"oid": git_oid(pointer), "size": len(content), "lfs": large}
