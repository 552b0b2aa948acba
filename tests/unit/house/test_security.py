"""A configuration from a stranger: each line of docs/security.md about what it can read, write, contact and run."""

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import RunConfig
from configs.sweep import load_sweep
from pipeline.cli.commands import app
from pipeline.job.result_writer import _record
from pipeline.planning.plan import make_plan
from tests.support.servers.fake_judge import FakeJudge

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
COMMIT = "0123456789" * 4
Allow = Callable[[str], None]
AWS = "a-secret-of-the-user-0123456789"
BASE: dict[str, Any] = {
    "name": "theirs", "steps": 2, "queries": 2, "soup": {"steps": 1}, "weights": [[0.5, 0.5]],
    "prompts": {"list": ["an owl"]}, "rewards": {"guided": ["colorfulness", "compressibility"]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's current folder, with a secret in the environment and a cache of the test's own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("SRSOUP_JUDGE_HOST", raising=False)
    return folder


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Allow:
    """A function that names the hosts in the user's environment."""
    return lambda hosts: monkeypatch.setenv("SRSOUP_JUDGE_HOST", hosts)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeJudge]:
    with FakeJudge(tmp_path / "answers") as judge:
        yield judge


def theirs(here: Path, **changes: Any) -> Path:
    """A stranger's file: a small run with these keys."""
    path = here / "theirs.yaml"
    path.write_text(yaml.safe_dump(BASE | changes))
    return path


def judged(url: str, **judge: Any) -> dict[str, Any]:
    """The section `rewards` with a judge."""
    settings = {"url": url, "model": "m", "back_off": 0.01, "requests_per_minute": 1e6} | judge
    return {"guided": ["colorfulness", "compressibility"], "held_out": ["vlm_judge"], "judge": settings}


def command(name: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [name, *map(str, arguments)])


def refused(key: str, words: str, *arguments: str | Path) -> str:
    """Both `check` and `run` refuse the request: status 2, one message that names the key."""
    for name in ("check", "run"):
        result = command(name, *arguments)
        assert result.exit_code == 2, result.output
        assert f"key:     {key}\n" in result.output and re.search(words, result.output), result.output
    return result.output


# What it can read


def test_extends_reads_yaml_as_data_and_regular_files_only(here: Path) -> None:
    (here / "base.yaml").write_text("name: !!python/object/apply:os.system ['touch ran']\n")
    refused("(the file)", "not plain data", theirs(here, extends="base.yaml"))
    os.mkfifo(here / "pipe.yaml")
    for other in ("pipe.yaml", "/dev/zero", "."):
        refused("(the file)", "not a regular file|a directory", theirs(here, extends=other))
    (here / "long.yaml").write_text("name: a # " + "x" * 10_000_000)
    refused("(the file)", "at most 4,000,000 are read", theirs(here, extends="long.yaml"))
    assert not (here / "ran").exists()


def test_prompts_are_read_from_regular_files_of_a_known_suffix(here: Path) -> None:
    os.mkfifo(here / "pipe.txt")
    (here / "device.txt").symlink_to("/dev/zero")
    for file, words in {
        "/etc/passwd": "no known format", "pipe.txt": "not a regular file", "device.txt": "not a regular file",
        "file:///etc/hosts.txt": "cannot be read",
    }.items():  # fmt: skip
        refused("prompts.file", words, theirs(here, prompts={"file": file}))


def test_the_prompts_are_copied_into_the_run_folder_and_nowhere_else(here: Path, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear-diary-of-2024\n")
    before = {path for path in tmp_path.rglob("*")}
    done = command("run", "--local", theirs(here, prompts={"file": str(tmp_path / "diary.txt")}))
    assert done.exit_code == 0, done.output
    written = [path for path in tmp_path.rglob("*") if path not in before and path.is_file()]
    assert {path.relative_to(here).parts[:2] for path in written} == {("runs", "theirs"), ("theirs.yaml",)}


def test_of_a_model_only_its_digest_is_recorded(here: Path) -> None:
    secret = here / "model" / "notes.txt"
    secret.parent.mkdir()
    secret.write_text(AWS)
    assert AWS not in refused("model.name", "no model_index.json", theirs(here, model={"name": "model"}))
    adapters = {"adapters": [{"name": str(secret)}]}
    assert AWS not in refused("model.adapters", "cannot be read", theirs(here, model=adapters))
    mixed = {"adapters_by_reward": {name: {"name": str(secret)} for name in BASE["rewards"]["guided"]}}
    theirs_mixed = theirs(here, method="model_soup", model=mixed)
    assert AWS not in refused("model.adapters_by_reward", "cannot be read", theirs_mixed)


@pytest.mark.parametrize("place", ["the file", "extends", "sweep"])
def test_a_file_cannot_have_a_variable_sent(here: Path, server: FakeJudge, allow: Allow, place: str) -> None:
    """The user has confirmed the host, for the variable OPENAI_API_KEY."""
    allow(server.url.split("/")[2])
    name, rewards = "run", judged(server.url, key_variable="AWS_SECRET_ACCESS_KEY")
    if place == "the file":
        path = theirs(here, rewards=rewards)
    elif place == "extends":
        theirs(here, rewards=rewards).rename(here / "base.yaml")
        path = here / "mine.yaml"
        path.write_text("extends: base.yaml\n")
    else:
        sweep = [{"rewards.judge.key_variable": ["AWS_SECRET_ACCESS_KEY"]}]
        name, path = "sweep", theirs(here, rewards=judged(server.url), sweep=sweep)
    for result in (command("check", path), command(name, "--local", path)):
        assert result.exit_code == 2 and "key:     rewards.judge.key_variable\n" in result.output, result.output
        assert AWS not in result.output and "AWS_SECRET_ACCESS_KEY" in result.output
    assert server.bodies == []


@pytest.mark.parametrize(
    ("hosts", "typed"),
    [
        ("example.org, {host}=MY_KEY", []),
        ("http://{host}/v1=MY_KEY", []),
        ("{host}", ["rewards.judge.key_variable=MY_KEY"]),
        ("", ["rewards.judge.url={url}", "rewards.judge.key_variable=MY_KEY"]),
    ],
)
def test_a_variable_that_the_user_names_for_the_host_is_sent(
    here: Path, server: FakeJudge, allow: Allow, hosts: str, typed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "the-key-of-this-host")
    url, host = server.url, server.url.split("/")[2]
    allow(hosts.format(host=host))
    path = theirs(here, rewards=judged(url, key_variable="MY_KEY"))
    done = command("run", "--local", path, *(text.format(url=url) for text in typed))
    assert done.exit_code == 0, done.output
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer the-key-of-this-host"}
    assert b"the-key-of-this-host" not in b"".join(p.read_bytes() for p in here.rglob("*") if p.is_file())


def test_variables_and_home_are_not_expanded(here: Path) -> None:
    path = theirs(here, output="$HOME/${AWS_SECRET_ACCESS_KEY}/~", model={"negative_prompt": "${HOME}"})
    config = load_config(path)
    assert str(config.output_folder) == "$HOME/${AWS_SECRET_ACCESS_KEY}/~" and config.model.negative_prompt == "${HOME}"
    assert AWS not in _record(make_plan(config, str))


def test_a_surrogate_is_read_from_a_regular_file_and_runs_no_code(here: Path) -> None:
    os.mkfifo(here / "pipe.safetensors")
    (here / "pickle.safetensors").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    (here / "large.safetensors").touch()
    os.truncate(here / "large.safetensors", 2**27)
    for file, words in {
        "pipe.safetensors": "not a regular file", "/dev/zero": "not a regular file", "/etc": "directory",
        "pickle.safetensors": "no surrogate", "large.safetensors": "at most 67,108,864 are read",
        "/etc/passwd": "no surrogate",
    }.items():  # fmt: skip
        shown = refused("surrogate.file", words, theirs(here, surrogate={"file": file}))
        assert "root:" not in shown
    assert not (here / "ran").exists()


# What it can write


@pytest.mark.parametrize("content", ["photo.jpg", "config.yaml", "samples", ".git"])
def test_a_folder_with_foreign_files_is_refused_and_stays_as_it_is(here: Path, content: str) -> None:
    folder = here / "mine"
    for inner in ("", ".compact-of-mine"):
        (folder / inner).mkdir()
    for name in (".part-of-mine", content):
        (folder / name).write_text("mine: 1")
    before = sorted(path.name for path in folder.rglob("*"))
    # A config.yaml that no run has written is refused as the damaged record of a run.
    key, words = ("(the file)", "no configuration") if content == "config.yaml" else ("output", "holds")
    refused(key, words, theirs(here, output="mine"))
    refused(key, words, theirs(here), f"output={folder}")
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_folder_of_a_run_that_was_killed_at_its_very_start_is_continued(here: Path) -> None:
    (here / "mine").mkdir()
    for name in (".lock", ".part-x", "driver.log"):
        (here / "mine" / name).write_text("")
    assert command("check", theirs(here, output="mine")).exit_code == 0


def test_a_folder_of_another_user_is_refused_unless_it_is_typed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = here.parent / "elsewhere" / "run"
    assert load_config(theirs(here, output=str(elsewhere))).output_folder == elsewhere
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    for output in (str(elsewhere), "../elsewhere/run", f"file://{elsewhere}", "runs/../../elsewhere"):
        refused("output", "not yours", theirs(here, output=output))
    with pytest.raises(RequestError, match="not yours"):
        load_sweep(theirs(here, sweep=[{"output": [str(elsewhere)]}]), ["output=runs/x"])
    assert load_config(theirs(here, output=str(elsewhere)), [f"output={elsewhere}"]).output_folder == elsewhere
    assert load_config(theirs(here, output="runs/x")).output_folder == Path("runs/x")


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_files_get_the_mode_that_the_umask_says(here: Path, umask: int, mode: int) -> None:
    script = "import pathlib, pipeline.storage.disk as disk; disk.Disk().write(pathlib.Path('a/b'), b'x')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script], cwd=here, check=True, umask=umask, env=environment)
    assert (here / "a" / "b").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("key", ["github", "dataset", "adapters"])
@pytest.mark.parametrize(
    "file", ["../../escaped.txt", "/tmp/escaped.txt", "a/../../b.txt", "./a.txt", "a//b", "..", ""]
)
def test_a_path_that_leaves_its_repository_is_refused(here: Path, key: str, file: str) -> None:
    if key == "github":
        changes = {"prompts": {"file": file, "github": f"some/repo@{COMMIT}", "sha256": "0" * 64}}
        refused("prompts.file", "not a path within a repository|at least 1 character", theirs(here, **changes))
    elif key == "dataset":
        dataset = {"name": "some/set", "revision": COMMIT, "files": {file: "0" * 64}}
        refused("prompts.dataset.files", "not a path within", theirs(here, prompts={"dataset": dataset}))
    else:
        model = {"adapters": [{"name": "some/lora", "revision": COMMIT, "file": file}]}
        refused("model.adapters", "not a path within a repository", theirs(here, model=model))
        mixed = {"adapters_by_reward": {"brightness": model["adapters"][0]}}
        refused("model.adapters_by_reward", "not a path within a repository", theirs(here, model=mixed))


@pytest.mark.parametrize("repository", ["../..", "a/..", "../a", "./a"])
def test_a_repository_that_leads_elsewhere_is_refused(here: Path, repository: str) -> None:
    prompts = {"file": "a.txt", "github": f"{repository}@{COMMIT}", "sha256": "0" * 64}
    refused("prompts.github", "not a path within a repository", theirs(here, prompts=prompts))
    refused("model.name", "not a name on the hub", theirs(here, model={"name": repository, "revision": COMMIT}))
    vae = {"vae": {"name": repository, "revision": COMMIT}}
    refused("model.vae", "not a name on the hub", theirs(here, model=vae))
    dataset = {"name": repository, "split": "train", "revision": COMMIT}
    refused("prompts.dataset.name", "not a name on the hub", theirs(here, prompts={"dataset": dataset}))


def test_the_cache_of_the_judge_stays_within_the_cache(here: Path, tmp_path: Path, allow: Allow) -> None:
    allow("judge.example")
    url = "https://judge.example/v1"
    for cache in (str(here / "mine"), "mine", str(tmp_path / "cache" / "srsoup" / "judge" / ".." / "x")):
        path = theirs(here, rewards=judged(url, cache=cache))
        refused("rewards.judge.cache", "outside the cache", path)
        assert load_config(path, [f"rewards.judge.cache={cache}"])
    assert load_config(theirs(here, rewards=judged(url, cache=str(tmp_path / "cache" / "srsoup" / "judge" / "x"))))
    assert not (here / "mine").exists()


# What it can contact


@pytest.mark.parametrize(
    "output", ["s3://theirs/x", "s3://mine/x?endpoint_override=evil.example&scheme=http", "gs://theirs/x",
               "abfs://c@theirs/x", "hdfs://evil.example/x", "fsspec+http://evil.example/x"],
)  # fmt: skip
def test_a_uri_of_a_file_is_not_contacted(here: Path, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.storage.object_store.ObjectStore.of", lambda uri: pytest.fail(f"{uri} is contacted"))
    refused("output", "on another file system", theirs(here, output=output))
    with pytest.raises(RequestError, match="on another file system"):
        load_sweep(theirs(here, sweep=[{"output": [output]}]), ["output=s3://mine/x"])
    assert str(load_config(theirs(here, output=output), [f"output='{output}'"]).output_folder) == output


def test_a_host_that_the_user_has_not_confirmed_is_not_queried(here: Path, server: FakeJudge, allow: Allow) -> None:
    path = theirs(here, rewards=judged(server.url))
    for hosts in ("", "127.0.0.1", "localhost:1", "evil." + server.url.split("/")[2], "https://" + server.url[7:]):
        allow(hosts)
        shown = refused("rewards.judge.url", "have not confirmed that host", path)
        assert server.url.split("/")[2] in shown
    with pytest.raises(RequestError, match="have not confirmed that host"):
        load_sweep(theirs(here, rewards=judged(server.url), sweep=[{"rewards.judge.url": [server.url]}]),
                   ["rewards.judge.url=http://127.0.0.1:9/v1"])  # fmt: skip
    assert server.bodies == []


@pytest.mark.parametrize(
    ("url", "hosts", "typed"),
    [
        ("https://judge.example/v1", "judge.example", ""),
        ("https://judge.example/v1", " a.example , JUDGE.example:443", ""),
        ("http://judge.example:8000/v1", "judge.example:8000", ""),
        ("http://[::1]:8000/v1", "[::1]:8000", ""),
        ("https://judge.example/v1", "", "rewards.judge.url=https://judge.example/v2"),
        ("https://judge.example/v1", "", "rewards.judge={url: 'https://judge.example/v1', model: n}"),
    ],
)
def test_a_host_that_the_user_confirms_is_taken(here: Path, allow: Allow, url: str, hosts: str, typed: str) -> None:
    allow(hosts)
    assert load_config(theirs(here, rewards=judged(url)), [typed] if typed else []).rewards.judge


def test_a_swept_host_is_confirmed_by_the_command_line(here: Path) -> None:
    urls = ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]
    path = theirs(here, rewards=judged(urls[0]))
    assert len(load_sweep(path, [], ["rewards.judge.url=" + ",".join(f"'{url}'" for url in urls)])) == 2


@pytest.mark.parametrize(
    ("url", "row"),
    [
        ("https://judge.example/v1", "judge.example over https (with the key in OPENAI_API_KEY, if it is set)"),
        ("http://127.0.0.1:8000/v1", "127.0.0.1:8000 over http (with the key in OPENAI_API_KEY, if it is set)"),
        ("http://judge.example/v1", "judge.example:80 over http (without a key, which goes over https or to this"),
    ],
)
def test_check_says_which_host_is_queried(here: Path, url: str, row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = theirs(here, rewards=judged(url))
    for arguments in ([], ["--over", "seed=0,1"]):
        shown = command("check", path, f"rewards.judge.url={url}", *arguments)
        assert shown.exit_code == 0 and "hosts queried" in shown.output and row in shown.output, shown.output


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166", "0xA9FEA9FE",
             "[64:ff9b::a9fe:1]", "[fd00:ec2::254]", "100.100.100.200", "0.0.0.0", "[::]", "224.0.0.1",
             "255.255.255.255"],
)  # fmt: skip
def test_a_link_local_address_is_never_contacted_whoever_confirms_it(here: Path, host: str) -> None:
    url = f"http://{host}/v1"
    refused("rewards.judge.url", "is never contacted", theirs(here, rewards=judged(url)), f"rewards.judge.url={url}")


def test_a_model_and_weights_come_from_the_hub_and_from_github_only(here: Path) -> None:
    """No key names another server: a URL is taken for a path of this machine, or is no name on the hub."""
    for name in ("https://evil.example/model", "s3://theirs/model", "git@evil.example:a/b"):
        refused("model.name", "there is no folder", theirs(here, model={"name": name}))
        refused("model.name", "not a name on the hub", theirs(here, model={"name": name, "revision": COMMIT}))
    prompts = {"file": "a.txt", "github": f"https://evil.example/a@{COMMIT}", "sha256": "0" * 64}
    refused("prompts.github", "pattern", theirs(here, prompts=prompts))


def test_accepted_weights_come_from_the_same_place_and_are_shown(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    accept = {"xswu/HPSv2/HPS_v2_compressed.pt": "0" * 64}
    rewards = {"guided": ["colorfulness", "compressibility"], "held_out": ["hpsv2"], "accept_sha256": accept}
    path = theirs(here, rewards=rewards)
    shown = command("check", path)
    assert shown.exit_code == 0 and "accepted weights" in shown.output, shown.output
    assert f"HPS_v2_compressed.pt is accepted with SHA-256 {'0' * 64}, and not with the pinned 07cb0d" in shown.output
    assert "0" * 64 in _record(make_plan(load_config(path), str))
    for name in ("https://evil.example/x.pt", "../x.pt", "/tmp/x.pt"):
        wrong = {**rewards, "accept_sha256": {name: "0" * 64}}
        refused("rewards.accept_sha256", "no weight files of this run", theirs(here, rewards=wrong))


# What it cannot do


@pytest.mark.parametrize("key", ["plugin", "plugins", "ray_address", "environment", "hooks"])
def test_no_key_names_code_or_a_cluster(here: Path, key: str) -> None:
    refused(key, "there is no such key", theirs(here, **{key: "evil.py"}))


def test_a_data_set_is_read_at_its_commit_and_no_script_of_it_is_run(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    asked = []

    def load(name: str, subset: str | None, **options: Any) -> None:
        asked.append((name, subset, options))
        raise OSError("no network here")

    monkeypatch.setattr(datasets, "load_dataset_builder", load)
    dataset = {"name": "some/prompts", "split": "train", "revision": COMMIT}
    path = theirs(here, prompts={"dataset": dataset})
    assert command("check", path).exit_code == 0 and not asked
    result = command("run", path)
    assert result.exit_code == 2 and "no network here" in result.output
    assert asked == [("some/prompts", None, {"revision": COMMIT})]
    assert "trust_remote_code" not in inspect.signature(datasets.load_dataset).parameters


def test_a_reward_that_is_not_installed_is_not_imported(here: Path) -> None:
    for name in ("os:system", "evil.rewards", "../evil.py", "__import__"):
        guided = {"guided": [name, "compressibility"]}
        refused("rewards.guided.0", "no reward with this name", theirs(here, rewards=guided))


def test_what_a_message_has_people_copy_is_quoted(here: Path) -> None:
    url = "https://judge.example/v1/$(touch${IFS}ran)"
    shown = refused("rewards.judge.url", "confirmed", theirs(here, rewards=judged(url)))
    assert f"add 'rewards.judge.url={url}' to the command" in shown
    shown = refused("output", "another file system", theirs(here, output="s3://a/$(touch ran)"))
    assert "add 'output=s3://a/$(touch ran)' to the command" in shown
    prompts = {"file": 'a$(touch ran)".txt', "github": f"some/repo@{COMMIT}", "sha256": "0" * 64}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        shown = refused("prompts.github", "curl", theirs(here, prompts=prompts))
    assert """"$SRSOUP_WEIGHTS"/'some/repo/a$(touch ran)".txt' https""" in shown
    for host in ("evil;ls", "$(id)", "a`b"):
        refused("rewards.judge.url", "not a plain address", theirs(here, rewards=judged(f"https://{host}/v1")))


def test_names_are_printed_as_they_are(here: Path) -> None:
    shown = command("check", theirs(here, output="[red]a[/blue]:snail:"))
    assert shown.exit_code == 0 and "[red]a[/blue]:snail:" in shown.output


# The page


@pytest.mark.parametrize(
    "report", [{"tracker": "https://evil.example"}, {"tracker": {"wandb": "evil"}}, {"tracker": "wandb", "url": "evil"}]
)
def test_a_file_names_one_of_three_trackers_and_no_address(here: Path, report: dict[str, Any]) -> None:
    (here / "theirs.yaml").write_text(yaml.safe_dump(BASE | {"report": report}))
    with pytest.raises(RequestError) as caught:
        load_config(here / "theirs.yaml")
    assert caught.value.key.startswith("report.")


def test_a_file_may_not_send_images_to_a_host_that_the_user_has_not_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*typed: str, **server: object) -> None:
        data = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
        data["prompts"] = {"list": ["owl"]}
        data["rewards"] = {"guided": ["far", "compressibility"], "servers": {"far": server}}
        del data["report"]
        (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(data))
        load_config(tmp_path / "theirs.yaml", list(typed))

    far = "http://scores.example:8100"
    with pytest.raises(RequestError, match=r"(?s)sends prompts and images to scores.example:8100.*rewards.servers.far"):
        load(url=far)
    load(f"rewards.servers.far.url={far}", url=far)
    with pytest.raises(RequestError, match="sends the value of AWS_SECRET_ACCESS_KEY"):
        load(f"rewards.servers.far.url={far}", url=far, key_variable="AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("SRSOUP_REWARD_HOSTS", "scores.example:8100")
    with pytest.raises(RequestError, match=r"other.example:80, and you have not confirmed"):
        load(url=[far, "http://other.example"])
    monkeypatch.setenv("SRSOUP_REWARD_HOSTS", "scores.example:8100,scores.example:8100=MY_KEY,http://other.example")
    load(url=[far, "http://other.example"])
    load(url=far, key_variable="MY_KEY")
    wrong: Any
    for wrong in ("http://169.254.169.254", "ftp://a", "http://user:pw@a", "http://a?b=c", []):
        with pytest.raises(RequestError):
            load(url=wrong)
    with pytest.raises(RequestError, match="has a server, and is neither guided nor held out"):
        load(f"rewards.servers.far.url={far}", "rewards.guided=[colorfulness]", url=far)


LINES: dict[str, list[Callable[..., None]]] = {
    "`extends`": [test_extends_reads_yaml_as_data_and_regular_files_only],
    "`prompts.file`": [
        test_prompts_are_read_from_regular_files_of_a_known_suffix,
        test_the_prompts_are_copied_into_the_run_folder_and_nowhere_else,
    ],
    "`surrogate.file`": [test_a_surrogate_is_read_from_a_regular_file_and_runs_no_code],
    "`model.name`, `model.vae.name`, `model.adapters.name`, `model.adapters_by_reward`, "
    "`model.adapters_by_reward.name`": [test_of_a_model_only_its_digest_is_recorded],
    "`rewards.judge.key_variable`": [
        test_a_file_cannot_have_a_variable_sent,
        test_a_variable_that_the_user_names_for_the_host_is_sent,
    ],
    "`output`, `name`": [
        test_a_folder_with_foreign_files_is_refused_and_stays_as_it_is,
        test_a_folder_of_another_user_is_refused_unless_it_is_typed,
        test_files_get_the_mode_that_the_umask_says,
    ],
    "`output` with a URI": [test_a_uri_of_a_file_is_not_contacted],
    "`prompts.github`, `prompts.dataset.name`, `model.revision`, `model.vae.revision`, `model.adapters.revision`, "
    "`model.adapters_by_reward.revision`": [
        test_a_path_that_leaves_its_repository_is_refused,
        test_a_repository_that_leads_elsewhere_is_refused,
    ],
    "`rewards.judge.cache`": [test_the_cache_of_the_judge_stays_within_the_cache],
    "`model.name` with `model.revision`, `model.vae.name` with `model.vae.revision`, `model.adapters.name` with "
    "`model.adapters.revision`, and the same of `model.adapters_by_reward`": [
        test_a_model_and_weights_come_from_the_hub_and_from_github_only
    ],
    "`prompts.dataset.name`, `prompts.dataset.revision`, `prompts.dataset.split`, `prompts.dataset.subset`, "
    "`prompts.dataset.column`, `prompts.dataset.files`": [
        test_a_data_set_is_read_at_its_commit_and_no_script_of_it_is_run
    ],
    "`report.tracker`": [test_a_file_names_one_of_three_trackers_and_no_address],
    "`prompts.github`, `prompts.sha256`": [test_a_model_and_weights_come_from_the_hub_and_from_github_only],
    "`rewards.guided`, `rewards.held_out`, `rewards.accept_sha256`": [
        test_accepted_weights_come_from_the_same_place_and_are_shown,
        test_a_reward_that_is_not_installed_is_not_imported,
    ],
    "`rewards.judge.url`, `rewards.judge.model`, `rewards.judge.template`": [
        test_a_host_that_the_user_has_not_confirmed_is_not_queried,
        test_a_link_local_address_is_never_contacted_whoever_confirms_it,
    ],
    "`rewards.servers.key_variable`": [test_a_file_may_not_send_images_to_a_host_that_the_user_has_not_confirmed],
    "`rewards.servers`, `rewards.servers.url`": [
        test_a_file_may_not_send_images_to_a_host_that_the_user_has_not_confirmed
    ],
    "run code": [test_no_key_names_code_or_a_cluster, test_extends_reads_yaml_as_data_and_regular_files_only],
    "name a reward that is not installed": [test_a_reward_that_is_not_installed_is_not_imported],
    "escape into a shell": [test_what_a_message_has_people_copy_is_quoted],
}


def test_each_line_of_the_page_has_its_test() -> None:
    rows = {row for row in re.findall(r"^\| (.+?) \| .* \|$", PAGE, re.MULTILINE) if row not in ("key", "|")}
    assert rows == {*LINES}


def texts_of(schema: dict[str, Any], mappings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a JSON schema that take any text."""
    for name, field in schema["properties"].items():
        shown = json.dumps(field)
        if '"type": "string"' in re.sub(r'\{[^{}]*"(enum|const)"[^{}]*\}', "", shown) and "enum" not in field:
            yield f"{prefix}{name}"
        for mapping in set(re.findall(r"#/\$defs/(\w+)", shown)):
            yield from texts_of(mappings[mapping], mappings, f"{prefix}{name}.")


def test_the_page_names_every_key_that_takes_a_text() -> None:
    """A key that is added has to be thought of here."""
    schema = RunConfig.model_json_schema()
    keys = {*texts_of(schema, schema["$defs"])}
    assert {"output", "prompts.file", "model.adapters.name", "rewards.judge.url"} <= keys
    assert {key for key in keys if f"`{key}`" not in PAGE} == set()
