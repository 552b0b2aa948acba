"""Secrets in error messages are hidden in everything that a run writes or prints; all other text stays."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.job.run_log import LOG_NAME, run_log
from pipeline.records import read_table
from pipeline.redaction import MAX_LENGTH, _hidden, redacted

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET https://ann:pa55w@rd.example/x?a=1", "GET https://***@rd.example/x?a=1"),
        ("s3://AKIAIOSFODNN7EXAMPLE:wJalr%2FXUt@bucket/a", "s3://***@bucket/a"),
        ("{'Authorization': 'Bearer abc.def-123'}", "{'Authorization': 'Bearer ***'}"),
        ("authorization: Basic YW5uOnBh", "authorization: Basic ***"),
        ('sent {\\"x-api-key\\": \\"0123456789\\"}', 'sent {\\"x-api-key\\": \\"***\\"}'),
        ("401 for Bearer abcdefgh12345678", "401 for Bearer ***"),
        ("?X-Amz-Credential=A%2Fus&X-Amz-Signature=77ff&b=2", "?X-Amz-Credential=***&X-Amz-Signature=***&b=2"),
        ("AWS_SECRET_ACCESS_KEY=abc/def+g is set", "AWS_SECRET_ACCESS_KEY=*** is set"),
        ("connect(password='a b', user='ann')", "connect(password='*** b', user='ann')"),
        ("no access for hf_abcdefghijklmnopqrstuv", "no access for ***"),
        ("Incorrect API key provided: sk-proj-abcdefghijkl123", "Incorrect API key provided: ***"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nafter", "***\nafter"),
        ("id-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def, ok", "id-***, ok"),
        ("ghp_abcdefghijklmnopqrstuvwx and AKIAIOSFODNN7EXAMPLE", "*** and ***"),
        ("my-long-api-key = 'sesame' and x_secret: open", "my-long-api-key = '***' and x_secret: ***"),
    ],
)
def test_text_in_the_form_of_a_secret_is_hidden(text: str, expected: str) -> None:
    assert redacted(text, {}) == expected
    assert redacted(expected, {}) == expected, "a second time changes nothing"


# Characters that parts of the patterns begin with or run over.
HOSTILE = [
    "a-", "token-", "token ", "token=\n", "token:'", 'token\\"', "api-", "access_key_id", "bearer ", "password=basic ",
    "eyJ-", "eyJ.", "eyJaaaaaaaaaa-", "eyJaaaaaaaaaaaa.b ", "sk-", "hf_", "AIza-", "xoxb-", "://", "://a",
    "://a:b@", "a@",
    "-----BEGIN ", "-----BEGIN A", "-----BEGIN PRIVATE KEY-----", "-----END ", " ", "x",
]  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_text_costs_a_time_that_grows_with_its_length_alone(part: str) -> None:
    """A quadratic pattern would take minutes for these 300 kB, and hours for a million characters."""
    for start in ("", "token", "eyJ", "://", "-----BEGIN PRIVATE KEY-----"):
        began = time.process_time()
        _hidden(start + part * (300_000 // len(part)), [])
        assert time.process_time() - began < 1


def test_a_long_text_is_cut_before_it_is_searched() -> None:
    began = time.process_time()
    for part in HOSTILE:
        shown = redacted(part * (1_000_000 // len(part)), {})
        assert len(shown) < 2 * MAX_LENGTH and "... (cut: the whole text has " in shown
    assert time.process_time() - began < len(HOSTILE)
    assert redacted("x" * MAX_LENGTH, {}) == "x" * MAX_LENGTH
    assert redacted("ab " * 33_334, {}).startswith("ab " * (MAX_LENGTH // 3))


@pytest.mark.parametrize("secret", ["hf_abcdefghijklmnopqrstuv", "plain-value-of-the-environment", "long" * 3_000])
def test_no_part_of_a_secret_that_the_cut_goes_through_is_shown(secret: str) -> None:
    """Also if secrets before it, which are hidden, make the text shorter than it was."""
    environment = {"MY_TOKEN": "plain-value-of-the-environment", "MY_KEY": "long" * 3_000}
    for before in ("x ", "hf_zyxwvutsrqponmlkjihgfedcba "):
        for start in (MAX_LENGTH - 10, MAX_LENGTH + 10, MAX_LENGTH + 4_990, MAX_LENGTH + 11_990):
            text = (before * start)[: start - start % len(before)] + secret + " after" * 5_000
            shown = redacted(text, environment)
            assert not any(secret[:n] in shown for n in (len(secret), 20, 8)), start


def test_the_values_of_secret_variables_are_hidden_everywhere() -> None:
    environment = {
        "HF_TOKEN": "plain-value-1", "OPENAI_API_KEY": "plain value/2", "AWS_SECRET_ACCESS_KEY": "plain-value-1-longer",
        "PGPASSWORD": "open-sesame", "RAY_AUTH_TOKEN_PATH": "/home/ann/token", "TOKENIZERS_PARALLELISM": "falsehood",
        "USE_KEY": "yes", "HOME": "/home/ann",
    }  # fmt: skip
    text = (
        "plain-value-1 plain-value-1-longer 'plain value/2' plain%20value%2F2 open-sesame /home/ann/token falsehood yes"
    )
    assert redacted(text, environment) == "*** *** '***' *** *** /home/ann/token falsehood yes"


@pytest.mark.parametrize(
    "text",
    [
        "error: there is no such key\n  file:    configs/demo.yaml\n  key:     stepz\n  value:   3",
        "KeyError: 'prompt'",
        "max_tokens: 77 is below 1; http://127.0.0.1:8000/v1: status 401; check url, and the key in OPENAI_API_KEY",
        "a token of 77, a basic instruction, the secret garden, tokens=5",
        "user@host:/path",
        "snapshot at 451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    ],
)
def test_text_without_a_secret_stays(text: str) -> None:
    assert redacted(text, {}) == text


def test_the_log_of_a_run_holds_no_secret(tmp_path: Path) -> None:
    with run_log([tmp_path], print):
        logging.getLogger("actors").warning("a call failed: 401 for https://ann:planted@hub.example")
    logged = (tmp_path / LOG_NAME).read_text(encoding="utf-8")
    assert "https://***@hub.example" in logged and "planted" not in logged


PLUGIN = """
import os


def faulty(images, prompts):
    if prompts[0] == "snail":
        try:
            raise OSError(f"401 for https://ann:planted-in-url@hub.example with {os.environ['MY_SERVICE_TOKEN']}")
        except OSError as error:
            raise RuntimeError("sent {'Authorization': 'Bearer planted-in-header'}") from error
    return images.double().mean((1, 2, 3))


REWARDS = {"faulty": faulty}
"""


def run(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", "run", str(ROOT / "configs" / "demo.yaml"), "steps=2", "queries=2",
               "soup.steps=1", "method=srsoup", "--local", f"output={output}", *arguments]  # fmt: skip
    environment = {**os.environ, "MY_SERVICE_TOKEN": "planted-in-the-environment"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)


@pytest.mark.slow
def test_secrets_in_the_errors_of_a_reward_are_in_no_file_and_in_no_output(tmp_path: Path) -> None:
    plugin, output = tmp_path / "mine.py", tmp_path / "run"
    plugin.write_text(PLUGIN)
    done = run(output, "prompts.list=[snail, crab]", "rewards.guided=[faulty, compressibility]",
               "report.reference_point=null", "--plugin", str(plugin))  # fmt: skip
    assert done.returncode == 1, done.stderr
    (failure,) = read_table(output, "failures").to_pylist()
    assert failure["message"].startswith("sent {'Authorization': 'Bearer ***'}")
    assert "https://***@hub.example with ***" in failure["traceback"] and "RuntimeError" in failure["traceback"]
    assert "planted" not in done.stdout + done.stderr + "".join(map(str, failure.values()))
    # The run keeps the plugin itself as it is, which docs/security.md says.
    assert (output / "plugins" / "mine.py").read_text() == PLUGIN
    files = [path for path in output.rglob("*") if path.is_file() and path.parent.name != "plugins"]
    assert files and all(b"planted" not in path.read_bytes() for path in files)


def test_a_secret_in_a_wrong_value_is_not_printed(tmp_path: Path) -> None:
    judge = "rewards.judge={url: 'https://ann:planted@host/v1', model: m}"
    done = run(tmp_path / "run", "rewards.held_out=[vlm_judge]", judge)
    assert done.returncode == 2 and "https://***@host/v1" in done.stderr and "planted" not in done.stderr
