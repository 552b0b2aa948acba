"""Prompts of a GitHub repository at a commit: found by SHA-256 in the cache, never used as a path on this machine."""

import hashlib
from pathlib import Path

import pytest

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import RunConfig
from pipeline.planning.prompts import read_prompts

COMMIT = "0123456789" * 4
TEXT = b"a snail\nan owl\n"
SHA = hashlib.sha256(TEXT).hexdigest()


def config(tmp_path: Path, *overrides: str) -> RunConfig:
    path = tmp_path / "run.yaml"
    path.write_text(
        "name: g\nweights: {grid: 2}\nrewards: {guided: [colorfulness, compressibility]}\n"
        f"prompts: {{file: assets/two.txt, github: some/repo@{COMMIT}, sha256: {SHA}}}\n"
    )
    return load_config(path, overrides)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SRSOUP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "none"))
    file = tmp_path / "some" / "repo" / "assets" / "two.txt"
    file.parent.mkdir(parents=True)
    file.write_bytes(TEXT)
    return file


def test_the_prompts_of_the_right_content_are_read(tmp_path: Path, folder: Path) -> None:
    prompts = read_prompts(config(tmp_path).prompts)
    assert [prompt.text for prompt in prompts] == ["a snail", "an owl"] and prompts[0].source == "two.txt"


def test_other_content_is_refused(tmp_path: Path, folder: Path) -> None:
    folder.write_bytes(TEXT + b"more\n")
    with pytest.raises(RequestError, match="SHA-256") as caught:
        read_prompts(config(tmp_path).prompts)
    assert caught.value.key == "prompts.github"


def test_an_offline_error_names_the_missing_file_and_its_hash(tmp_path: Path, folder: Path) -> None:
    folder.unlink()
    with pytest.raises(RequestError) as caught:
        read_prompts(config(tmp_path).prompts)
    assert f"https://raw.githubusercontent.com/some/repo/{COMMIT}/assets/two.txt" in str(caught.value)
    assert SHA in str(caught.value)


@pytest.mark.parametrize(
    "override", ["prompts.github=some/repo", "prompts.github=some/repo@main", "prompts.sha256=null", "prompts.sha256=1"]
)
def test_wrong_keys_are_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(RequestError) as caught:
        config(tmp_path, override)
    assert caught.value.key.startswith("prompts")


def test_the_users_own_copy_is_read_instead(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("a crab\n")
    made = config(tmp_path, f"prompts.file={mine}", "prompts.github=null", "prompts.sha256=null")
    assert [prompt.text for prompt in read_prompts(made.prompts)] == ["a crab"]
