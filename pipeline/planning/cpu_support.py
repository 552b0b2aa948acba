"""Whether this machine's CPU computes a model's dtype fast. Reads the CPU's flags; nothing is measured."""

from pathlib import Path

from configs.schema import RunConfig

CPU_INFO = Path("/proc/cpuinfo")
# dtype -> the flags of Linux, on x86 and ARM, each of which makes it as fast as float32 or faster.
FAST_WITH = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "float16": frozenset({"avx512_fp16", "amx_fp16", "asimdhp"}),
}


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
    return (
        f"model.dtype is {dtype}, and this CPU has neither {lacking}: if the model is computed on CPUs like this one, "
        f"a step can take 20 to 40 times as long as in float32; set model.dtype=float32"
    )


def _on_cpu(config: RunConfig) -> bool:
    if config.compute.device != "auto":
        return config.compute.device == "cpu"
    import torch

    return not torch.cuda.is_available()
