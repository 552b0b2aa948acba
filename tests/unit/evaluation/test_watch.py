"""`srsoup report --watch`: the server tells strangers nothing, and the page follows the run."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from evaluation import watch
from evaluation.errors import ReportError
from evaluation.page import pictures
from evaluation.page.server import PageServer
from evaluation.reading.images import FrontImages, read_images
from evaluation.watch import count_fronts, watch_report
from pipeline.records import Location
from tests.support.synthetic_run import simplex, write_driver, write_key

Write = Callable[..., Path]
GUIDED, HELD_OUT = ["colorfulness", "compressibility"], ["mini_clip"]


def asked(url: str, path: str, method: str = "GET", host: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    """Ask the server at `url` for a path just as it is written, and return status, content and headers."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or place.netloc)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, dict(answer.getheaders())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a served folder, and the path in it with the token."""
    folder = tmp_path / "report"
    (folder / "images").mkdir(parents=True)
    (folder / "other").mkdir()
    for name in ("index.html", "images/a.png", "other/b.png", ".hidden.html", "notes.txt"):
        (folder / name).write_text(f"this is {name}")
    (tmp_path / "config.yaml").write_text("secret")
    (tmp_path / "above.html").write_text("secret")
    (folder / "link.html").symlink_to(tmp_path / "above.html")
    with PageServer(folder, lambda: {"version": 3}) as server:
        yield server.url, urlsplit(server.url).path


def test_the_page_its_images_and_the_state_are_served(served: tuple[str, str]) -> None:
    url, path = served
    assert url.startswith("http://127.0.0.1:")
    assert asked(url, f"{path}index.html")[:2] == (200, b"this is index.html")
    assert asked(url, f"{path}images/a.png")[:2] == (200, b"this is images/a.png")
    assert json.loads(asked(url, f"{path}state")[1]) == {"version": 3}
    status, content, headers = asked(url, path)
    assert status == 200 and b"<iframe" in content
    assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["Cache-Control"] == "no-store"
    assert asked(url, f"{path}index.html", "HEAD")[:2] == (200, b"")


@pytest.mark.parametrize(
    "name",
    [
        "../config.yaml", "../above.html", "..%2fabove.html", "%2e%2e/above.html", "images/../../above.html",
        "images/..%2f..%2fabove.html", "/etc/passwd", "link.html", ".hidden.html", "notes.txt", "other/b.png", "images",
        "images/", "none.html", "index.html/", "..\\above.html", "index.html%00.png",
    ],
)  # fmt: skip
def test_no_other_file_is_served(served: tuple[str, str], name: str) -> None:
    url, path = served
    status, content, _ = asked(url, path + name)
    assert status == 404 and b"this is" not in content and b"secret" not in content


def test_without_the_token_nothing_is_served(served: tuple[str, str]) -> None:
    url, path = served
    for other in ("/", "/index.html", "/state", f"{path[:-2]}/index.html", f"/x{path[1:]}index.html"):
        assert asked(url, other)[0] == 404
    assert asked(url, "/%C3%A9/index.html")[0] == 404


def test_a_name_that_leads_here_by_dns_is_refused(served: tuple[str, str]) -> None:
    url, path = served
    port = urlsplit(url).port
    for host in (f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port}.evil.example", "evil.example"):
        assert asked(url, f"{path}index.html", host=host)[0] == 403
    assert asked(url, f"{path}index.html", host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_pages_are_read_only(served: tuple[str, str], method: str) -> None:
    url, path = served
    assert asked(url, f"{path}index.html", method)[0] == 501


def test_other_machines_cannot_connect(served: tuple[str, str]) -> None:
    """The server listens on the loopback address alone, not on all of them."""
    port = urlsplit(served[0]).port or 0
    with socket.socket() as other:
        other.settimeout(5)
        assert other.connect_ex(("127.0.0.2", port)) != 0


@contextmanager
def watched(run: Path, **options: Any) -> Iterator[str]:
    """Watch a run in a thread of its own, and yield the address of its page."""
    said, stop = list[str](), threading.Event()
    thread = threading.Thread(
        target=watch_report, args=([run], run / "report"), kwargs={"tell": said.append, "stop": stop, **options}
    )
    thread.start()
    try:
        wait_for(lambda: bool(said))
        yield said[0].split()[1]
    finally:
        stop.set()
        thread.join(timeout=120)
        assert not thread.is_alive()


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end, "it did not happen in two minutes"
        time.sleep(0.05)


def state(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(asked(url, f"{urlsplit(url).path}state")[1])
    return found


def is_made(url: str, version: int) -> bool:
    return bool(state(url)["version"] == version)


def finish(run: Path, number: int) -> None:
    """Write a front of a prompt, as a driver does."""
    write_key(run, f"p{number:03d}-srsoup", f"prompt {number}", "srsoup", simplex(2, 2), GUIDED, HELD_OUT)


def test_the_page_follows_the_run_and_reads_each_image_once(
    synthetic_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[str]()

    def counted(run: Location, keys: Collection[str]) -> Iterator[FrontImages]:
        read.extend(keys)
        return read_images(run, keys)

    monkeypatch.setattr(pictures, "read_images", counted)
    monkeypatch.setattr(watch, "SHARE", 1.0)
    run = synthetic_run(prompts=[], methods=["srsoup"], weights=2)
    write_driver(run, fronts=3)
    with watched(run) as url:
        wait_for(lambda: "no finished prompt" in state(url)["text"])
        assert state(url)["version"] == 0 and state(url)["text"].startswith("0 of 3 fronts finished")
        for number in range(3):
            finish(run, number)
            wait_for(partial(is_made, url, number + 1))
            page = asked(url, f"{urlsplit(url).path}index.html")[1].decode()
            assert page.count('<script type="text/plain"') == number + 1
        assert state(url) | {"version": 0} == {
            "version": 0, "text": "3 of 3 fronts finished; the run is finished", "finished": 3, "wanted": 3,
        }  # fmt: skip
    assert sorted(read) == [f"p{number:03d}-srsoup" for number in range(3)]
    assert (run / "report" / "index.html").is_file()
    assert not [path for path in (run / "report").iterdir() if path.name.startswith(".")]
    with pytest.raises(ConnectionRefusedError):
        state(url)


def test_fronts_of_several_runs_are_added(synthetic_run: Write) -> None:
    runs = [synthetic_run(name, prompts=["a", "b"], failures=1) for name in ("one", "two")]
    assert count_fronts(runs) == (8, 2, None)
    for run in runs:
        write_driver(run, fronts=5)
    assert str(count_fronts(runs)) == "8 of 10 fronts finished, 2 failed"


def test_what_cannot_be_watched_is_an_error(synthetic_run: Write, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="has no run"):
        watch_report([tmp_path / "nothing"], tmp_path / "out")
    run = synthetic_run(prompts=["a"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ReportError, match="--port"):
            watch_report([run], tmp_path / "out", port=taken.getsockname()[1])


@pytest.mark.parametrize(("signal_number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_the_command_ends_on_signals(synthetic_run: Write, signal_number: int, status: int) -> None:
    run = synthetic_run(prompts=["a"], weights=2)
    command = [sys.executable, "-m", "srsoup", "report", str(run), "--watch", "--title", "Owls"]
    # SIGINT is ignored by children of a shell's background jobs unless it is set back.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout
    url = process.stdout.readline().split()[1]
    wait_for(lambda: state(url)["version"] == 1)
    assert b"<h1>Owls</h1>" in asked(url, f"{urlsplit(url).path}index.html")[1]
    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status and "Traceback" not in errors
