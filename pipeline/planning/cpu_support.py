"""Whether this machine's CPU computes a model's dtype fast. Reads the CPU's flags; nothing is measured."""

from pathlib import Path

from configs.schema import RunConfig

CPU_INFO = Path("/proc/cpuinfo")
# dtype -> the flags of Linux, on x86 and ARM, of instructions that compute in it. Each is enough.
FAST_WITH = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "float16": frozenset({"avx512_fp16", "amx_fp16", "asimdhp"}),
}

# What a pass takes without them, as a multiple of float32: see `python -m benchmarks.dtypes`.
_TIMES = {"bfloat16": "20 to 45", "float16": "20 to 70"}
_TIMES_WITH_AVX512 = {"bfloat16": "1.5 to 1.8"}


def cpu_flags(cpu_info: Path = CPU_INFO) -> frozenset[str]:
    """Return the flags of the first CPU of this machine; none if the system does not tell them."""
    try:
        lines = cpu_info.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    values = (
        value for key, _, value in (line.partition(":") for line in lines) if key.strip() in ("flags", "Features")
    )
    return frozenset(next(values, "").split())


def slow_dtype(config: RunConfig) -> str | None:
    """Return a warning if a run would compute on this machine's CPU in a dtype that it has no instructions for."""
    dtype, flags = config.model.dtype, cpu_flags()
    if dtype not in FAST_WITH or not flags or flags & FAST_WITH[dtype] or not _on_cpu(config):
        return None
    lacking = " nor ".join(flag for flag in sorted(FAST_WITH[dtype]) if "_" in flag)
    times = _TIMES | (_TIMES_WITH_AVX512 if "avx512bw" in flags else {})
    return (
        f"model.dtype is {dtype}, and this CPU has neither {lacking}: if the model is computed on CPUs like this one, "
        f"a pass takes {times[dtype]} times as long as in float32; fix: set model.dtype=float32"
    )


def _on_cpu(config: RunConfig) -> bool:
    if config.compute.device != "auto":
        return config.compute.device == "cpu"
    import torch

    return not torch.cuda.is_available()
