"""Model folders and LoRAs that are damaged, wrong, or no models at all."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.support.hostile.case import ROOT, TINY, Case

KIND = "models"
MINI = ROOT / "mini" / "weights" / "pipeline"
UNET = "unet/diffusion_pytorch_model.safetensors"
ENCODER = "text_encoder/model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 10253160\n"


def _model(change: Callable[[Path], object]) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        shutil.copytree(MINI, folder / "model")
        change(folder / "model")

    return prepare


def _json(name: str, **changes: Any) -> Callable[[Path], object]:
    def change(model: Path) -> None:
        data = json.loads((model / name).read_text())
        data.update(changes)
        (model / name).write_text(json.dumps(data))

    return change


def _bytes(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda model: (model / name).write_bytes(content)


def _cut(name: str) -> Callable[[Path], object]:
    return lambda model: (model / name).write_bytes((model / name).read_bytes()[:-1_000])


def _tensors(name: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], object]:
    def edit(model: Path) -> None:
        tensors = load_file(model / name)
        change(tensors)
        save_file(tensors, model / name, {"format": "pt"})

    return edit


def _drop(tensors: dict[str, torch.Tensor]) -> None:
    for key in sorted(tensors)[:3]:
        del tensors[key]


def _reshape(tensors: dict[str, torch.Tensor]) -> None:
    key = max(tensors, key=lambda name: tensors[name].numel())
    tensors[key] = tensors[key].flatten()[:-1].clone()


def _nan(tensors: dict[str, torch.Tensor]) -> None:
    for key in tensors:
        tensors[key] = torch.full_like(tensors[key], torch.nan)


def _gone(name: str) -> Callable[[Path], object]:
    def change(model: Path) -> None:
        place = model / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()

    return change


def _folder_for_file(name: str) -> Callable[[Path], object]:
    def change(model: Path) -> None:
        (model / name).unlink()
        (model / name).mkdir()

    return change


def _fifo(name: str) -> Callable[[Path], object]:
    def change(model: Path) -> None:
        (model / name).unlink()
        os.mkfifo(model / name)

    return change


def _loop(name: str) -> Callable[[Path], object]:
    def change(model: Path) -> None:
        (model / name).unlink()
        (model / name).symlink_to(Path(name).name)

    return change


SCHEDULER = "scheduler/scheduler_config.json"
CHANGES: dict[str, Callable[[Path], object]] = {
    "no model_index.json": _gone("model_index.json"),
    "model_index.json is a list": _bytes("model_index.json", b"[]"),
    "model_index.json is cut": _bytes("model_index.json", b'{"_class'),
    "model_index.json is nested 100,000 deep": _bytes("model_index.json", b"[" * 100_000),
    "model_index.json is a FIFO": _fifo("model_index.json"),
    "another pipeline": _json("model_index.json", _class_name="FluxPipeline"),
    "a pipeline that is a number": _json("model_index.json", _class_name=5),
    "no unet": _gone("unet"),
    "no weights": _gone(UNET),
    "weights that are a folder": _folder_for_file(UNET),
    "weights that are a FIFO": _fifo(UNET),
    "weights that link to themselves": _loop(UNET),
    "weights that are cut": _cut(UNET),
    "weights that are empty": _bytes(UNET, b""),
    "weights that are a git-lfs pointer": _bytes(UNET, POINTER),
    "a header that lies": _bytes(UNET, b"\xff" * 8 + b"{}"),
    "tensors missing": _tensors(UNET, _drop),
    "a tensor of another shape": _tensors(UNET, _reshape),
    "a text encoder with tensors missing": _tensors(ENCODER, _drop),
    "a text encoder that is cut": _cut(ENCODER),
    "a VAE with tensors missing": _tensors(VAE, _drop),
    "a VAE that is cut": _cut(VAE),
    "no tokenizer": _gone("tokenizer"),
    "num_train_timesteps: 1e9": _json(SCHEDULER, num_train_timesteps=1_000_000_000),
    "num_train_timesteps: text": _json(SCHEDULER, num_train_timesteps="many"),
    "num_train_timesteps: 0": _json(SCHEDULER, num_train_timesteps=0),
    "beta_schedule: exponential": _json(SCHEDULER, beta_schedule="exponential"),
    "beta_start: text": _json(SCHEDULER, beta_start="low"),
    "a scheduler that is a list": _bytes(SCHEDULER, b"[]"),
    "sample_size: null": _json("unet/config.json", sample_size=None),
    "sample_size: 10^9": _json("unet/config.json", sample_size=10**9),
    "in_channels: text": _json("unet/config.json", in_channels="four"),
}


def _lora(name: str, content: bytes | None) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        if content is None:
            save_file({"foreign.lora_A.weight": torch.zeros(2, 2)}, folder / name)
        else:
            (folder / name).write_bytes(content)

    return prepare


def cases() -> Iterator[Case]:
    for name, change in CHANGES.items():
        arguments = ("check", "demo", "model.name=model", *TINY)
        yield Case(KIND, f"{name}: check", arguments, "model|steps", prepare=_model(change))
    run = ("run", "demo", "model.name=model", *TINY, "--local", "output=run")
    for name in ("tensors missing", "a tensor of another shape", "a text encoder with tensors missing",
                 "weights that are cut", "weights that are a git-lfs pointer"):  # fmt: skip
        yield Case(KIND, f"{name}: run", run, "model", prepare=_model(CHANGES[name]))
    yield Case(KIND, "weights of NaN: run", run, "NaN or infinity", (1,), prepare=_model(_tensors(UNET, _nan)))
    loras = {"empty": b"", "a header that lies": b"\xff" * 8, "no safetensors": b"hello", "foreign layers": None}
    for name, content in loras.items():
        with_lora = ("check", "demo", "model.adapters=[{name: a.safetensors}]")
        yield Case(KIND, f"a LoRA: {name}", with_lora, "model.adapters", prepare=_lora("a.safetensors", content))
    yield Case(KIND, "a LoRA that is a FIFO", ("check", "demo", "model.adapters=[{name: a.safetensors}]"),
               "model.adapters", prepare=lambda folder: os.mkfifo(folder / "a.safetensors"))  # fmt: skip
    yield Case(KIND, "a model that is a file", ("check", "demo", "model.name=a"), "model.name",
               prepare=lambda folder: (folder / "a").touch())  # fmt: skip
