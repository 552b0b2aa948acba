"""A half-precision dtype on a CPU without instructions for it: `check` and `run` say that it is slow."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli.commands import app
from pipeline.planning import cpu_support

DEMO = str(Path(__file__).parents[3] / "configs" / "demo.yaml")
AVX2 = "flags\t\t: fpu sse4_2 avx avx2 fma\n"
AVX512 = "flags\t\t: avx avx2 avx512f avx512bw avx512_vnni\n"
ZEN4 = "processor\t: 0\nflags\t\t: avx avx2 avx512f avx512_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n"
SAPPHIRE = "flags\t\t: avx2 avx512f avx512_bf16 avx512_fp16 amx_bf16 amx_tile\n"
GRAVITON = "Features\t: fp asimd fphp asimdhp bf16\n"


@pytest.fixture
def cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def has(text: str | None, gpu: bool = False) -> None:
        path = tmp_path / "cpuinfo"
        if text is not None:
            path.write_text(text)
        flags = cpu_support.cpu_flags(path)
        monkeypatch.setattr(cpu_support, "cpu_flags", lambda: flags)
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)

    return has


def checked(*overrides: str) -> str:
    result = CliRunner().invoke(app, ["check", DEMO, *overrides])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("info", "dtype", "warned"),
    [
        (AVX2, "bfloat16", True), (AVX512, "bfloat16", True), (ZEN4, "bfloat16", False), (SAPPHIRE, "bfloat16", False),
        (GRAVITON, "bfloat16", False), (AVX2, "float16", True), (ZEN4, "float16", True), (SAPPHIRE, "float16", False),
        (GRAVITON, "float16", False), (AVX2, "float32", False), (None, "bfloat16", False),
        ("model: x\n", "float16", False),
    ],
)  # fmt: skip
def test_check_warns_of_a_dtype_without_instructions(
    cpu: Any, tmp_path: Path, info: str | None, dtype: str, warned: bool
) -> None:
    cpu(info)
    output = checked(f"model.dtype={dtype}", f"output={tmp_path / 'run'}")
    assert output.count("warning:") == warned and (f"model.dtype is {dtype}" in output) == warned
    assert ("fix: set model.dtype=float32" in output) == warned


@pytest.mark.parametrize(
    ("info", "dtype", "times"),
    [(AVX2, "bfloat16", "20 to 45"), (AVX512, "bfloat16", "1.5 to 1.8"), (AVX2, "float16", "20 to 70"),
     (AVX512, "float16", "20 to 70")],
)  # fmt: skip
def test_the_warning_says_how_much_slower(cpu: Any, tmp_path: Path, info: str, dtype: str, times: str) -> None:
    """As `python -m benchmarks.dtypes` measures it, with oneDNN limited to these instructions."""
    cpu(info)
    assert f"a pass takes {times} times as long" in checked(f"model.dtype={dtype}", f"output={tmp_path / 'run'}")


@pytest.mark.parametrize(("device", "gpu", "warned"), [("auto", True, 0), ("gpu", False, 0), ("cpu", True, 1)])
def test_a_model_that_a_gpu_computes_is_not_warned_of(
    cpu: Any, tmp_path: Path, device: str, gpu: bool, warned: int
) -> None:
    cpu(AVX2, gpu)
    overrides = ["model.dtype=bfloat16", f"compute.device={device}", f"output={tmp_path / 'run'}"]
    assert checked(*overrides).count("warning:") == warned


def test_a_sweep_is_warned_of_once(cpu: Any, tmp_path: Path) -> None:
    cpu(AVX2)
    overrides = ["model.dtype=bfloat16", f"output={tmp_path / 'run'}", "--over", "steps=10,20"]
    assert checked(*overrides).count("warning:") == 1


def test_run_warns_before_it_starts_and_goes_on(cpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu(AVX2)
    monkeypatch.setattr("pipeline.job.driver.execute", lambda *_, **__: ())
    result = CliRunner().invoke(app, ["run", DEMO, "model.dtype=bfloat16", f"output={tmp_path / 'run'}"])
    assert "warning: model.dtype is bfloat16, and this CPU has neither amx_bf16 nor avx512_bf16" in result.output
