"""What `import srsoup` offers: few names, loaded when they are first used."""

import subprocess
import sys

import pytest

import srsoup

NAMES = {
    "Front", "ModelError", "RequestError", "RewardError", "RewardInfo", "Run", "__version__", "load_config", "run",
    "sample_front",
}  # fmt: skip


def runs(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_public_names_are_these_and_each_can_be_imported() -> None:
    assert set(srsoup.__all__) == NAMES == set(dir(srsoup))
    names: dict[str, object] = {}
    exec("from srsoup import *", names)
    assert set(names) - {"__builtins__"} == NAMES
    assert isinstance(srsoup.__version__, str) and srsoup.__version__[0].isdigit()


@pytest.mark.parametrize("name", ["app", "main", "report", "rewards", "score", "smaple_front"])
def test_there_are_no_other_names(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(srsoup, name)


def test_torch_and_ray_are_imported_only_when_they_are_needed() -> None:
    runs("import sys, srsoup; dir(srsoup); assert not {'torch', 'ray', 'pandas', 'typer'} & set(sys.modules)")
    runs("import sys; from srsoup import Run, RequestError; assert not {'torch', 'ray'} & set(sys.modules)")
    runs("import sys; from srsoup import load_config; load_config('demo'); assert 'torch' not in sys.modules")
    runs("import sys, srsoup; srsoup.sample_front; assert 'ray' not in sys.modules")
