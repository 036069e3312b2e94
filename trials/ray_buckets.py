"""Images and output in buckets of an S3 server on loopback, which sometimes asks to come again."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import socket
import subprocess
import sys
import threading
import unittest
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.request import urlopen

from trials.ray_cluster import House, cluster, differences, need_ray, pictures, wait_for
from trials.report import Report, Table

IMAGES, SHORT_IMAGES = 2000, 100
BROKEN, SHORT_BROKEN = 40, 5
NODES = 2
REFUSES = 10  # one in so many requests gets a 503
TRIES = 60  # of the control
GONE = "the file was gone before it could be read"


def run(work: Path, *, short: bool) -> Report:
    need_ray()
    if find_spec("moto") is None:
        raise unittest.SkipTest(
            "moto not installed: no lock has it, as it needs an older python-dateutil. "
            "In a copy of the environment: pip install 'moto[server]'"
        )
    import obstore
    from obstore.store import S3Store

    images, broken = (SHORT_IMAGES, SHORT_BROKEN) if short else (IMAGES, BROKEN)
    pictures(work / "pictures", images, broken)
    local = House(work / "local")
    local.run("backfill", work / "pictures")
    here = f"{work / 'pictures'}/"
    wanted = [
        row | {"path": row["path"].replace(here, "s3://images/a folder/")} for row in local.rows
    ]
    with server() as (host, port), refusing(host, port) as (moody, refused):
        found, answers = {}, {}
        for name, address in (("answers", f"http://{host}:{port}"), ("refuses", moody)):
            os.environ.update(credentials(address))
            store = S3Store("images", client_options={"allow_http": True})
            if name == "answers":
                create(host, port, "images")
                create(host, port, "output")
                for file in sorted((work / "pictures").iterdir()):
                    obstore.put(store, f"a folder/{file.name}", file)
                obstore.put(store, "a folder/notes.txt", b"no image")
            house = House(work / name)
            before = refused[0]
            with cluster(NODES) as made:
                obstore.put(store, f"a folder/vanishes-{name}.jpg", b"soon gone")
                with house.started(
                    "backfill", "s3://images/a folder", "--engine", "ray",
                    "--address", made.address, "--output", f"s3://output/{name}",
                ) as job:  # fmt: skip
                    wait_for(lambda name=name: listed(store_of("output"), name), "the listing", 120)
                    obstore.delete(store, f"a folder/vanishes-{name}.jpg")
                    assert job.wait(600) == 0, (house.folder / "log").read_text()
            rows = {row["path"]: row for row in house.rows}
            gone = rows.pop(f"s3://images/a folder/vanishes-{name}.jpg")
            assert gone["reason"] == GONE, gone
            mine = [{**row, "id": ""} for row in rows.values()]
            found[name] = differences(mine, [{**row, "id": ""} for row in wanted])
            answers[name] = refused[0] - before
            assert not found[name], (name, found[name])
            assert "It adds up" in house.run("verify")
        assert answers["refuses"] > 0, refused
        lost = impatient("s3://images/a folder", work)
    assert lost, "nothing was refused"
    return Report(
        title="Images and rows may be in buckets",
        done=f"{images + broken:,} images in a bucket of an S3 server (moto, on loopback), the "
        f"job's files in another, on a head and {NODES} nodes. Then through a server that answers "
        f"one request in {REFUSES} with 503. An image was deleted after it was listed.",
        result="The rows that the local engine makes of the same files, both times; the deleted "
        f"one failed ({GONE}).",
        control=f"Without a second try, {lost} of {TRIES} images could not be read.",
        table=Table(("server", "answers of 503"), list(answers.items())),
    )


def impatient(url: str, work: Path) -> int:
    """Of so many images, how many cannot be read by one who asks once."""
    from classifier.errors import UnreadableError
    from daemon.cluster import sources

    with mock.patch.dict(sources.PATIENCE, {"max_retries": 0}):
        bucket = sources.Bucket(url)
        lost = 0
        for number in range(TRIES):
            try:
                bucket.fetch(f"{number:06}.jpg", work / "copy")
            except UnreadableError:
                lost += 1
    return lost


def listed(store: Any, name: str) -> bool:
    """Whether a job has its manifest."""
    import obstore

    found = (meta["path"] for page in obstore.list(store, name) for meta in page)
    return any(path.endswith("job.json") for path in found)


def store_of(bucket: str) -> Any:
    from obstore.store import S3Store

    return S3Store(bucket, client_options={"allow_http": True})


def credentials(address: str) -> dict[str, str]:
    """The environment of whoever asks this server."""
    return {
        "AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "trial", "AWS_SECRET_ACCESS_KEY": "trial",
    }  # fmt: skip


def create(host: str, port: int, bucket: str) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request("PUT", f"/{bucket}")
    assert connection.getresponse().status == 200
    connection.close()


@contextlib.contextmanager
def server() -> Iterator[tuple[str, int]]:
    """moto's, in a process of its own."""
    host = "127.0.0.1"
    with socket.create_server((host, 0)) as free:
        port = free.getsockname()[1]
    script = "from moto.server import main; import sys; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "-H", host, "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return bool(urlopen(f"http://{host}:{port}/moto-api/").status == 200)
        return False

    try:
        wait_for(answers, "the server answers", 60)
        yield host, port
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def refusing(host: str, port: int) -> Iterator[tuple[str, list[int]]]:
    """A server in front of that one, its address, and how often it has refused."""
    refused = [0]
    number = itertools.count(1)

    class Moody(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self._body()
            if next(number) % REFUSES == 0:
                refused[0] += 1
                self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
                return
            connection = http.client.HTTPConnection(host, port, timeout=60)
            apart = ("expect", "transfer-encoding", "connection")
            headers = {k: v for k, v in self.headers.items() if k.lower() not in apart}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read())
            connection.close()

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(chunks)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            length = headers.get("Content-Length", str(len(body)))
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    moody = ThreadingHTTPServer((host, 0), Moody)
    moody.daemon_threads = True
    thread = threading.Thread(target=moody.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{moody.server_address[1]}", refused
    finally:
        moody.shutdown()
        moody.server_close()
        thread.join()
