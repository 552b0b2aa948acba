"""The ids of prompts, which decide seeds and keys: files that were always read rightly keep theirs, so runs resume."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from configs.errors import RequestError
from configs.load import load_config
from configs.schema import PromptsConfig
from pipeline.job.driver import _locked_folder
from pipeline.planning.plan import make_plan, prompt_task
from pipeline.planning.prompts import read_prompts


def parquet(**columns: list[str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


# Written down from the code that read these files before any other format was known.
PINNED: list[tuple[str, bytes, str | None, list[tuple[str, str, str | None]]]] = [
    (
        "lines.txt",
        '\ufeffa fox\r\n\r\n  two owls \na fox\nsay "hi"\ttab\n1. one\n2 cats\n👩\u200d🚀 \u2028x'.encode(),
        None,
        [
            ("9b26ebe2f3f7d522-0", "a fox", None),
            ("40ca2f78ec2f38d4-0", "two owls", None),
            ("9b26ebe2f3f7d522-1", "a fox", None),
            ("e40aa4d9f6f87b79-0", 'say "hi"\ttab', None),
            ("9127e63784504772-0", "1. one", None),
            ("044d4afa95979c34-0", "2 cats", None),
            ("91cb68b7e3871ed4-0", "👩\u200d🚀 \u2028x", None),
        ],
    ),
    (
        "texts.json",
        b'["a/b\\nc", "a/b\\nc", " padded ", "2 cats"]',
        None,
        [
            ("55353b44d29f7de5-0", "a/b\nc", None),
            ("55353b44d29f7de5-1", "a/b\nc", None),
            ("dbf0e301238a57f1-0", " padded ", None),
            ("044d4afa95979c34-0", "2 cats", None),
        ],
    ),
    (
        "styles.json",
        b'{"anime": ["a fox", "x, y"], "concept-art": ["a fox"], "photo": [{"prompt": "p", "id": 1}]}',
        None,
        [
            ("5b9ca806e0a1d70c-0", "a fox", "anime"),
            ("08316f899df88bdf-0", "x, y", "anime"),
            ("4d99843b81264970-0", "a fox", "concept-art"),
            ("1120d4ef4bda9aad-0", "p", "photo"),
        ],
    ),
    (
        "one_group.json",
        b'{"prompts": ["a fox", "an owl"]}',
        None,
        [("0d83ce56c0d8c6bb-0", "a fox", "prompts"), ("03f18fa40b08d7d1-0", "an owl", "prompts")],
    ),
    (
        "records.json",
        b'[{"Prompt": "a fox", "negative_prompt": "ugly", "style": "anime"}, {"text": "an owl"}, "plain"]',
        None,
        [
            ("9b26ebe2f3f7d522-0", "a fox", None),
            ("f1e03f066286f77d-0", "an owl", None),
            ("226bd46903ab2749-0", "plain", None),
        ],
    ),
    (
        "named.json",
        b'[{"words": "a fox", "prompt": "other"}, {"words": "an owl", "prompt": "other"}]',
        "words",
        [("9b26ebe2f3f7d522-0", "a fox", None), ("f1e03f066286f77d-0", "an owl", None)],
    ),
    (
        "geneval.jsonl",
        b'\xef\xbb\xbf{"tag": "t", "include": [{"class": "x"}], "prompt": "a photo"}\r\n\n"q"\n{"text": "t"}',
        None,
        [("f68c3ea69ab93dd6-0", "a photo", None), ("40aefa51978aa28c-0", "q", None), ("61e38f1e714312d3-0", "t", None)],
    ),
    (
        "quoted.csv",
        b'id,text\n1,"x, y"\n2,"say ""hi"""\n\n3,"two\nlines"\n4,a "word" inside\n5, padded \n',
        None,
        [
            ("87161393b6ce3714-0", "x, y", None),
            ("a8c410313a38ecac-0", 'say "hi"', None),
            ("9b68c3bfbedd5e1c-0", "two\nlines", None),
            ("ae5b1bcc83009be1-0", 'a "word" inside', None),
            ("dbf0e301238a57f1-0", " padded ", None),
        ],
    ),
    (
        "short_rows.csv",
        b"prompt,style\na fox\nan owl,anime\n",
        None,
        [("9b26ebe2f3f7d522-0", "a fox", None), ("f1e03f066286f77d-0", "an owl", None)],
    ),
    (
        "mac.csv",
        b"prompt,style\ra fox,x\ran owl,y\r",
        None,
        [("9b26ebe2f3f7d522-0", "a fox", None), ("f1e03f066286f77d-0", "an owl", None)],
    ),
    (
        "parti.tsv",
        b'Prompt\tCategory\tNote\na "b\tz\t\nthe words "KEEP OFF" here\tz\t\nplain\tz\tn\n',
        None,
        [
            ("903e47645b5dca71-0", 'a "b', None),
            ("e62edeaf09f5fb7d-0", 'the words "KEEP OFF" here', None),
            ("226bd46903ab2749-0", "plain", None),
        ],
    ),
    (
        "excel.tsv",
        b'prompt\tid\r\n"a ""red"" fox"\t1\r\n"tab\tinside"\t2\r\nplain\t3\r\n',
        None,
        [
            ("55971123a0d21acf-0", 'a "red" fox', None),
            ("a855784969ad2160-0", "tab\tinside", None),
            ("226bd46903ab2749-0", "plain", None),
        ],
    ),
    (
        "all_quoted.tsv",
        b'"prompt"\t"id"\n"a fox"\t"1"\n"two\nlines"\t"2"\n',
        None,
        [("9b26ebe2f3f7d522-0", "a fox", None), ("9b68c3bfbedd5e1c-0", "two\nlines", None)],
    ),
    (
        "table.parquet",
        parquet(id=["1", "2"], Caption=["a fox", " an\nowl "]),
        None,
        [("9b26ebe2f3f7d522-0", "a fox", None), ("f7611d7dc1462854-0", " an\nowl ", None)],
    ),
    (
        "named.parquet",
        parquet(prompt=["x", "y"], words=["a fox", "a fox"]),
        "words",
        [("9b26ebe2f3f7d522-0", "a fox", None), ("9b26ebe2f3f7d522-1", "a fox", None)],
    ),
]
LISTED = [
    ("f1e03f066286f77d-0", "config", None),
    ("f1e03f066286f77d-1", "config", None),
    ("0a644e2649799fc1-0", "config", None),
    ("88783a816851ed8c-0", "config", None),
]
KEYS = [
    (628639091479595566, "5617e6054d42e8c533fdfc08708bc8add818881ac203ea6b5a302270a96618b5"),
    (4442531085443223938, "6da464e96b7c8e3b1f324bac2475a527213680c4fe72acc898365a8e08ae0d8f"),
]


@pytest.mark.parametrize(("name", "content", "column", "expected"), PINNED, ids=[row[0] for row in PINNED])
def test_a_file_that_was_read_rightly_keeps_its_ids(
    tmp_path: Path, name: str, content: bytes, column: str | None, expected: list[tuple[str, str, str | None]]
) -> None:
    (tmp_path / name).write_bytes(content)
    prompts = read_prompts(PromptsConfig(file=str(tmp_path / name), column=column))
    assert [(prompt.prompt_id, prompt.text, prompt.style) for prompt in prompts] == expected
    assert {prompt.source for prompt in prompts} == {name}


def test_a_list_keeps_its_ids() -> None:
    prompts = read_prompts(PromptsConfig(list=("an owl", "an owl", " a\nfox ", "🦊")))
    (tench,) = read_prompts(PromptsConfig(list=("n01440764 tench",)))
    assert tench.text == "n01440764 tench"
    assert [(prompt.prompt_id, prompt.source, prompt.style) for prompt in prompts] == LISTED


def test_the_keys_of_a_run_stay(tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("a snail\nan owl\n")
    demo = Path(__file__).parents[3] / "configs" / "demo.yaml"
    config = load_config(demo, [f"prompts.file={tmp_path / 'two.txt'}"])
    tasks = [prompt_task(config, prompt, 0, "srsoup", "r", '{"x": 1}') for prompt in read_prompts(config.prompts)]
    assert [(task.seed, task.key) for task in tasks] == KEYS


def test_a_run_of_an_earlier_version_is_continued(tmp_path: Path) -> None:
    """Its record has neither `skip_empty` nor `dataset`."""
    demo = Path(__file__).parents[3] / "configs" / "demo.yaml"
    config = load_config(demo, [f"output={tmp_path}", "prompts.list=[a snail]"])
    plan = make_plan(config, lambda key: "demo.yaml")
    with _locked_folder(plan):
        pass
    record = yaml.safe_load((tmp_path / "config.yaml").read_text())
    for key in ("skip_empty", "dataset"):
        del record["config"]["prompts"][key]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(record))
    assert make_plan(config, lambda key: "demo.yaml").tasks == plan.tasks
    with pytest.raises(RequestError) as caught:
        make_plan(load_config(demo, [f"output={tmp_path}", "prompts.list=[a snail]", "prompts.skip_empty=true"]), str)
    assert caught.value.key == "prompts.skip_empty"
