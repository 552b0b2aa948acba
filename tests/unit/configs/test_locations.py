"""Where a run's files may be: paths, URIs, and URIs that are refused."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.load import load_config
from configs.location import RemotePath, location_of
from srsoup import _app
from tests.support.runs import DEMO

app = _app()

OPTIONS = "endpoint_override=127.0.0.1:9000&scheme=http"


def test_paths_and_uris() -> None:
    assert location_of("runs/a") == Path("runs/a") and location_of("s3:odd") == Path("s3:odd")
    assert location_of("file:///tmp/a%20b") == Path("/tmp/a b")
    run = location_of(f"s3://bucket/runs/a%20b/?{OPTIONS}")
    assert run == RemotePath(f"s3://bucket/runs/a%20b?{OPTIONS}") and run.name == "a b"
    part = run / "costs" / "key.parquet"
    assert (part.name, part.stem) == ("key.parquet", "key")
    assert str(part) == f"s3://bucket/runs/a%20b/costs/key.parquet?{OPTIONS}"
    assert location_of(str(run / "point")) == RemotePath(f"s3://bucket/runs/a%20b/point?{OPTIONS}")
    assert location_of("gs://bucket").name == "bucket"


def test_a_file_uri_is_a_path_and_the_points_of_a_sweep_are_below_its_uri(tmp_path: Path) -> None:
    from configs.sweep import load_sweep

    assert load_config(DEMO, [f"output={tmp_path.as_uri()}"]).output_folder == tmp_path
    points = load_sweep(DEMO, [f"output=s3://bucket/sweep?{OPTIONS}"], ["soup.steps=0,2"])
    assert [str(point.output_folder) for point in points] == [
        f"s3://bucket/sweep/soup-steps-{k}?{OPTIONS}" for k in (0, 2)
    ]


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("foo://bucket/a", "no file system has the scheme foo://"),
        ("s3:///runs/a", "write s3://BUCKET/FOLDER"),
        ("file://elsewhere/a", "three slashes"),
        ("s3://[bucket/a", "the URI cannot be read: Invalid IPv6 URL"),
        ("hdfs:///", "names no folder"),
        ("s3://bucket/a#b", "write it as %23"),
        ("s3://AKIA1234:h4nds0ff@bucket/a", "AWS_ACCESS_KEY_ID"),
        ("s3://bucket/a?access_key=AKIA1234&secret_key=h4nds0ff&region=x", "access_key, secret_key may not be"),
        ("abfs://box:h4nds0ff@account.dfs.core.windows.net/a", "in the environment"),
        ("fsspec+nothing:///a", "nothing"),
    ],
)
def test_a_wrong_uri_is_refused_everywhere_and_no_secret_is_shown(uri: str, says: str) -> None:
    for arguments in (["run", str(DEMO), f"output='{uri}'"], ["status", uri], ["report", uri], ["compact", uri]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2 and says in result.output and "h4nds0ff" not in result.output
        assert result.output.count("key:     output\n") == (arguments[0] == "run")
