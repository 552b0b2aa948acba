"""Where weight files are found, how they are checked, and what the error of a missing file says."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from rewards import pinned_files
from rewards.aesthetic import HEAD
from rewards.errors import WeightsError
from rewards.hpsv2 import WEIGHTS_2_0, WEIGHTS_2_1
from rewards.image_reward import VOCABULARY
from rewards.image_reward import WEIGHTS as IMAGE_REWARD
from rewards.networks.clip_cosine import OPENAI_MERGES, OPENAI_VOCABULARY, OPENAI_WEIGHTS
from rewards.pickscore import WEIGHTS as PICKSCORE
from rewards.pinned_files import WeightFile, locate

CONTENT = b"weights"
SHA = hashlib.sha256(CONTENT).hexdigest()
REVISION = "a" * 40
FILE = WeightFile("some/model", REVISION, "model.bin", SHA)
ALL = (
    HEAD,
    OPENAI_MERGES,
    OPENAI_VOCABULARY,
    OPENAI_WEIGHTS,
    WEIGHTS_2_0,
    WEIGHTS_2_1,
    IMAGE_REWARD,
    VOCABULARY,
    PICKSCORE,
)


def located(home: Path, sha256: str | None) -> str:
    """The path or the error of `locate` in a new process without a network.

    A new process, because the hub's client reads the environment only once.
    """
    program = (
        "from rewards.pinned_files import *\n"
        f"file = WeightFile('some/model', '{REVISION}', 'model.bin', {sha256!r})\n"
        "try: print(locate(file))\n"
        "except WeightsError as error: print(error)"
    )
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("SRSOUP_WEIGHTS", None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    return done.stdout.strip() or done.stderr


def cached(home: Path, blob: str, content: bytes = CONTENT) -> Path:
    """Write a file into the cache, with the layout of the hub's client."""
    repo = home / "hub" / "models--some--model"
    (repo / "blobs").mkdir(parents=True)
    (repo / "blobs" / blob).write_bytes(content)
    snapshot = repo / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (snapshot / "model.bin").symlink_to(Path("../../blobs") / blob)
    return snapshot / "model.bin"


def test_the_cache_of_hf_home_is_used_offline(tmp_path: Path) -> None:
    path = cached(tmp_path, SHA)
    assert located(tmp_path, SHA) == str(path)


def test_a_missing_file_is_named_with_revision_hash_and_command(tmp_path: Path) -> None:
    output = located(tmp_path, SHA)
    assert f"model.bin of some/model (revision {REVISION}), SHA-256 {SHA} is not on this machine" in output
    assert f"`hf download some/model model.bin --revision {REVISION}`" in output
    assert "SRSOUP_WEIGHTS" in output and "\n" not in output


def test_another_file_in_the_cache_is_refused(tmp_path: Path) -> None:
    cached(tmp_path, SHA, b"other")
    output = located(tmp_path, SHA)
    assert f"its SHA-256 is {hashlib.sha256(b'other').hexdigest()}, not {SHA}" in output and "hf download" in output


def test_a_file_without_a_known_hash_is_checked_against_the_hubs_record(tmp_path: Path) -> None:
    path = cached(tmp_path / "good", SHA)
    assert located(tmp_path / "good", None) == str(path)
    cached(tmp_path / "bad", SHA, b"other")
    assert f"not {SHA}" in located(tmp_path / "bad", None)
    cached(tmp_path / "small", "0" * 40)
    assert "has no SHA-256" in located(tmp_path / "small", None)


def test_a_file_without_a_known_hash_is_refused_from_a_local_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, monkeypatch)
    with pytest.raises(WeightsError, match="cannot be checked"):
        locate(WeightFile("some/model", REVISION, "model.bin", None))


def test_a_file_of_a_package_is_found_without_running_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SRSOUP_WEIGHTS", raising=False)
    file = WeightFile("srsoup_test_weights", "1.0", "models/model.bin", SHA, "pypi")
    path = tmp_path / "srsoup_test_weights" / "models" / "model.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    (tmp_path / "srsoup_test_weights" / "__init__.py").write_text("raise AssertionError('the package was run')")
    fix = r"model.bin of srsoup_test_weights \(version 1.0\).*`pip install srsoup_test_weights==1.0`"
    with pytest.raises(WeightsError, match=rf"{fix}.*SRSOUP_WEIGHTS"):
        locate(file)
    monkeypatch.syspath_prepend(tmp_path)
    assert locate(file) == path and "srsoup_test_weights" not in sys.modules
    with pytest.raises(WeightsError, match="has no SHA-256 to check it by; give its SHA-256"):
        locate(replace(file, sha256=None))
    path.write_bytes(b"other")
    with pytest.raises(WeightsError, match=fix):
        locate(file)
    path.unlink()
    with pytest.raises(WeightsError, match=fix):
        locate(file)


def test_a_local_folder_comes_first_and_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place(tmp_path, monkeypatch)
    assert locate(FILE) == path
    path.write_bytes(b"other")
    with pytest.raises(WeightsError, match="its SHA-256 is"):
        locate(FILE)


def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "some" / "model" / "model.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    monkeypatch.setenv("SRSOUP_WEIGHTS", str(folder))
    return path


class Answers(BaseHTTPRequestHandler):
    """Answers as GitHub: good.bin is the file, other.bin has other content, broken.bin ends early, no other exists."""

    paths: list[str]

    def do_GET(self) -> None:
        type(self).paths.append(self.path)
        name = self.path.rpartition("/")[2]
        content = {"good.bin": CONTENT, "other.bin": b"other", "broken.bin": CONTENT[:3]}.get(name)
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(CONTENT) if name == "broken.bin" else len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server in place of GitHub; yields the folder of the cache."""
    from huggingface_hub import constants

    Answers.paths = []
    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(pinned_files, "GITHUB", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("SRSOUP_WEIGHTS", raising=False)
    yield tmp_path
    server.shutdown()
    server.server_close()


def on_github(name: str) -> WeightFile:
    return WeightFile("some/head", REVISION, name, SHA, host="github")


def test_a_file_on_github_is_downloaded_once(github: Path) -> None:
    path = locate(on_github("good.bin"))
    assert path.read_bytes() == CONTENT and path.is_relative_to(github)
    assert locate(on_github("good.bin")) == path
    assert Answers.paths == [f"/some/head/{REVISION}/good.bin"]


@pytest.mark.parametrize("name", ["other.bin", "broken.bin", "absent.bin"])
def test_a_bad_download_leaves_nothing_behind(github: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=rf"{name} of some/head .*curl"):
        locate(on_github(name))
    assert [path for path in github.rglob("*") if path.is_file()] == []


def test_nothing_is_downloaded_offline(github: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        locate(on_github("good.bin"))
    assert Answers.paths == []


@pytest.mark.parametrize("file", ALL, ids=str)
def test_every_weight_file_is_pinned(file: WeightFile) -> None:
    assert len(file.revision) == 40 and set(file.revision) <= set("0123456789abcdef")
    assert len(str(file.sha256)) == 64 and set(str(file.sha256)) <= set("0123456789abcdef")


def test_the_address_of_a_file_on_github_is_escaped() -> None:
    assert HEAD.url.endswith(f"/{HEAD.revision}/sac%2Blogos%2Bava1-l14-linearMSE.pth")


@pytest.mark.parametrize("name", ["../a.bin", "/tmp/a.bin", "a/../../b.bin", "", ".", "a//b"])
@pytest.mark.parametrize("host", ["github", "huggingface", "pypi"])
def test_a_name_that_leads_out_of_the_cache_is_refused(name: str, host: Any) -> None:
    with pytest.raises(WeightsError, match="not a path within a repository"):
        WeightFile("some/head", REVISION, name, SHA, host)
    with pytest.raises(WeightsError, match="not a path within a repository"):
        WeightFile(f"some/{name}", REVISION, "a.bin", SHA, host)
