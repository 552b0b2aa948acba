"""Model folders that loading would refuse: what is done to a whole one, and what the message must say."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

BASE = {"text_encoder": "model", "text_encoder_2": "model", "text_encoder_3": "model"}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:aaaa\nsize 3438167536\n"
Break = Callable[[Path], object]


def weights_of(folder: Path, part: str) -> Path:
    return folder / part / f"{BASE.get(part, 'diffusion_pytorch_model')}.safetensors"


def with_weights(part: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Break:
    """Change the tensors of a part, in place."""

    def breaks(folder: Path) -> None:
        path = weights_of(folder, part)
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return breaks


def with_config(file: str, **changes: Any) -> Break:
    def breaks(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return breaks


def with_bytes(file: str, change: Callable[[bytes], bytes]) -> Break:
    def breaks(folder: Path) -> None:
        (folder / file).write_bytes(change((folder / file).read_bytes()))

    return breaks


def as_folder(file: str) -> Break:
    def breaks(folder: Path) -> None:
        (folder / file).unlink()
        (folder / file).mkdir()

    return breaks


def as_lost_link(file: str) -> Break:
    def breaks(folder: Path) -> None:
        (folder / file).unlink()
        (folder / file).symlink_to(folder / "lost")

    return breaks


def as_fifo(file: str) -> Break:
    def breaks(folder: Path) -> None:
        (folder / file).unlink()
        os.mkfifo(folder / file)

    return breaks


def sharded(folder: Path, part: str = "unet", variant: str = "") -> None:
    """Cut the weights of a part into two shards with an index."""
    path = weights_of(folder, part)
    tensors, base = load_file(path), path.stem
    path.unlink()
    names, places = sorted(tensors), dict[str, str]()
    for index in range(2):
        shard = f"{base}{variant}-0000{index + 1}-of-00002.safetensors"
        places |= dict.fromkeys(names[index::2], shard)
        save_file({name: tensors[name] for name in names[index::2]}, path.parent / shard, metadata={"format": "pt"})
    content = {"metadata": {"total_size": 1}, "weight_map": places}
    (path.parent / f"{base}.safetensors.index{variant}.json").write_text(json.dumps(content))


def without_a_shard(folder: Path) -> None:
    sharded(folder)
    (folder / "unet" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()


def with_a_shard_outside(folder: Path) -> None:
    sharded(folder)
    with_config("unet/diffusion_pytorch_model.safetensors.index.json", weight_map={"conv_in.weight": "../a"})(folder)


def with_an_index_of_more(folder: Path) -> None:
    sharded(folder)
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    places["conv_in.other"] = places["conv_in.weight"]
    with_config("unet/diffusion_pytorch_model.safetensors.index.json", weight_map=places)(folder)


def without_an_index(folder: Path) -> None:
    sharded(folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").unlink()


def in_variants(folder: Path, variants: dict[str, str]) -> None:
    for part, variant in variants.items():
        path = weights_of(folder, part)
        path.rename(path.with_suffix(f".{variant}.safetensors"))


def with_few_embeddings(folder: Path) -> None:
    (name,) = [name for name in load_file(weights_of(folder, "text_encoder")) if "token_embedding" in name]
    with_weights("text_encoder", lambda tensors: tensors.update({name: torch.zeros(20, 16)}))(folder)
    with_config("text_encoder/config.json", vocab_size=20)(folder)


def with_header(file: str, change: Callable[[str], str]) -> Break:
    """Change the header of a safetensors file, and its length, and nothing else."""

    def changed(data: bytes) -> bytes:
        end = 8 + int.from_bytes(data[:8], "little")
        header = change(data[8:end].decode()).encode()
        return len(header).to_bytes(8, "little") + header + data[end:]

    return with_bytes(file, changed)


def in_utf_16(data: bytes) -> bytes:
    end = 8 + int.from_bytes(data[:8], "little")
    header = data[8:end].decode().encode("utf-16")
    return len(header).to_bytes(8, "little") + header + data[end:]


def with_classes(folder: Path) -> None:
    """A UNet that also takes a class, with all of its weights."""
    config = {**UNet2DConditionModel.load_config(folder / "unet"), "num_class_embeds": 10}
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")


def as_file(part: str) -> Break:
    def breaks(folder: Path) -> None:
        shutil.rmtree(folder / part)
        (folder / part).write_bytes(b"x")

    return breaks


class Poison:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.makedirs, (str(self.path),)


def as_pickles(folder: Path) -> None:
    """`run`, where the test looks whether anything has begun, is what unpickling would make."""
    weights_of(folder, "unet").unlink()
    torch.save(Poison(folder.parent / "run"), folder / "unet" / "diffusion_pytorch_model.bin")


UNET, TEXT, VAE = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors", "vae/config.json"
SCHEDULER = "scheduler/scheduler_config.json"
BROKEN: dict[str, tuple[str, Break, str]] = {
    "a pointer of Git LFS": ("sd", with_bytes(UNET, lambda _: LFS), "git lfs pull"),
    "a pointer in the text encoder": ("sdxl", with_bytes(TEXT, lambda _: LFS), "git lfs pull"),
    "a pointer for the tokenizer": ("sd", with_bytes("tokenizer/tokenizer.json", lambda _: LFS), "git lfs pull"),
    "a pointer for a config": ("sd", with_bytes(VAE, lambda _: LFS), "git lfs pull"),
    "a truncated UNet": ("sd", with_bytes(UNET, lambda data: data[:-1000]), "cut short"),
    "a file cut in its header": ("sd3", with_bytes(TEXT, lambda data: data[:100]), "cut short"),
    "an empty file": ("sd", with_bytes(UNET, lambda _: b""), "cut short"),
    "a longer file": ("sd", with_bytes(UNET, lambda data: data + b"x"), "belong to no tensor"),
    "a header that is no JSON": ("sd", with_bytes(UNET, lambda data: data[:8] + b"[" + data[9:]), "header is broken"),
    "a deep header": ("sd", with_bytes(UNET, lambda _: (200_000).to_bytes(8, "little") + b"[" * 200_000), "broken"),
    "a header as long as a disk": ("sd", with_bytes(UNET, lambda data: b"\xff" * 7 + b"\x0f" + data[8:]), "cut short"),
    "a missing shard": ("sd", without_a_shard, "lacks the shard diffusion_pytorch_model-00002-of-00002"),
    "shards without an index": ("sd", without_an_index, "no index of shards"),
    "a shard outside the folder": ("sd", with_a_shard_outside, "no file beside it"),
    "an index that names more": ("sd", with_an_index_of_more, "lack conv_in.other"),
    "a text encoder without a tensor": (
        "sd", with_weights("text_encoder", lambda t: t.pop(sorted(t)[5])), "made up at random"),
    "a second text encoder without a layer": (
        "sdxl", with_weights("text_encoder_2", lambda t: [t.pop(n) for n in sorted(t) if "layers.1." in n]),
        "lacks text_model.encoder.layers.1.layer_norm1.bias, text_model.encoder.layers.1.layer_norm1.weight"),
    "a T5 without a tensor": ("sd3", with_weights("text_encoder_3", lambda t: t.pop(sorted(t)[0])), "made up"),
    "a T5 without its embeddings": ("sd3", with_weights("text_encoder_3", lambda t: t.pop("shared.weight")), "lacks "),
    "a UNet without a tensor": ("sd", with_weights("unet", lambda t: t.pop("conv_in.weight")), "lacks conv_in.weight"),
    "a VAE without its decoder": (
        "sdxl", with_weights("vae", lambda t: [t.pop(n) for n in sorted(t) if "decoder" in n]), "lacks decoder."),
    "a transformer with more": (
        "sd3", with_weights("transformer", lambda t: t.update(other=torch.zeros(1))), "other, for which the model has"),
    "a UNet with more layers": (
        "sd", with_weights("unet", lambda t: t.update({"mid_block.resnets.2.conv1.bias": torch.zeros(1)})), "no place"),
    "a wrong shape": (
        "sd", with_weights("unet", lambda t: t.update({"conv_in.weight": torch.zeros(32, 4, 1, 1)})),
        "another shape for conv_in.weight ([32, 4, 1, 1] and not [32, 4, 3, 3])"),
    "a wrong shape in the text": (
        "sdxl", with_weights("text_encoder", lambda t: t.update({sorted(t)[0]: torch.zeros(7)})), "another shape for"),
    "whole numbers": (
        "sd", with_weights("unet", lambda t: t.update({"conv_in.bias": torch.zeros(32, dtype=torch.int8)})), "(I8)"),
    "sample_size null": ("sd", with_config("unet/config.json", sample_size=None), "sample_size None"),
    "sample_size 0": ("sdxl", with_config("unet/config.json", sample_size=0), "sample_size 0"),
    "sample_size of three": ("sd", with_config("unet/config.json", sample_size=[8, 8, 8]), "sample_size [8, 8, 8]"),
    "sample_size a word": ("sd3", with_config("transformer/config.json", sample_size="8"), "sample_size 8"),
    "a scaling_factor of null": ("sd", with_config(VAE, scaling_factor=None), "scaling_factor None"),
    "a VAE of one channel": ("sd", with_config(VAE, out_channels=1), "decodes 1 channels"),
    "a UNet that predicts variances": ("sd", with_config("unet/config.json", out_channels=8), "predicts 8 channels"),
    "text of another width": ("sd", with_config("unet/config.json", cross_attention_dim=24), "cross_attention_dim 24"),
    "pooled text of another width": (
        "sdxl", with_config("unet/config.json", projection_class_embeddings_input_dim=65), "embeddings_input_dim 65"),
    "text of another width in SD3": (
        "sd3", with_config("transformer/config.json", joint_attention_dim=24), "joint_attention_dim: 32"),
    "a million layers": ("sd", with_config("text_encoder/config.json", num_hidden_layers=10**6), "at most 1000 layers"),
    "a block of no name": ("sd", with_config("unet/config.json", down_block_types=["a", "b"]), "describes no UNet2D"),
    "a width of minus one": ("sd", with_config("text_encoder/config.json", intermediate_size=-1), "describes no CLIP"),
    "a part of no class": ("sd", with_config("model_index.json", unet=["diffusers", "Unknown"]), "as the unet"),
    "a part of a class outside": ("sd", with_config("model_index.json", vae=["os", "system"]), "as the vae"),
    "a tokenizer of no class": ("sd", with_config("model_index.json", tokenizer=["transformers", "X"]), "tokenizer of"),
    "no vocabulary": ("sd", lambda folder: (folder / "tokenizer/tokenizer.json").unlink(), "no vocabulary"),
    "a broken vocabulary": ("sd", with_bytes("tokenizer/tokenizer.json", lambda _: b"{}"), "cannot be loaded as a"),
    "more tokens than embeddings": ("sd", with_few_embeddings, "has 56 tokens, and its text encoder knows 20"),
    "a tokenizer without an end": (
        "sd", with_config("tokenizer/tokenizer_config.json", model_max_length=10**30), "model_max_length"),
    "beta_schedule exponential": ("sd", with_config(SCHEDULER, beta_schedule="exponential"), "'exponential'"),
    "beta_schedule a list": ("sd", with_config(SCHEDULER, beta_schedule=["linear"]), "beta_schedule"),
    "beta_start a word": ("sd", with_config(SCHEDULER, beta_start="0.1"), "beta_start '0.1'"),
    "beta_end null": ("sd", with_config(SCHEDULER, beta_end=None), "beta_end 'None'"),
    "beta_end 7": ("sdxl", with_config(SCHEDULER, beta_end=7), "beta_end '7'"),
    "a billion timesteps": ("sd", with_config(SCHEDULER, num_train_timesteps=10**9), "1..100000"),
    "timesteps a word": ("sd", with_config(SCHEDULER, num_train_timesteps="1000"), "num_train_timesteps '1000'"),
    "timesteps true": ("sd", with_config(SCHEDULER, num_train_timesteps=True), "num_train_timesteps 'True'"),
    "timesteps of a flow": ("sd3", with_config(SCHEDULER, num_train_timesteps=1.5), "num_train_timesteps '1.5'"),
    "an offset below 0": ("sd", with_config(SCHEDULER, steps_offset=-1), "steps_offset '-1'"),
    "an offset of all": ("sd", with_config(SCHEDULER, steps_offset=900), "trained with 1000 timesteps"),
    "spacing null": ("sd", with_config(SCHEDULER, timestep_spacing=None), "timestep_spacing None"),
    "too few betas": ("sd", with_config(SCHEDULER, trained_betas=[0.1, 0.2]), "2 trained_betas"),
    "betas of words": ("sd", with_config(SCHEDULER, trained_betas=["a"] * 1000), "trained_betas"),
    "betas of nothing": ("sd", with_config(SCHEDULER, beta_start=0, beta_end=0), "gives no timesteps"),
    "a flag that is a word": ("sd", with_config(SCHEDULER, set_alpha_to_one="no"), "set_alpha_to_one 'no'"),
    "a shift of 0": ("sd3", with_config(SCHEDULER, shift=0), "shift '0'"),
    "a shift of words": ("sd3", with_config(SCHEDULER, shift="3.0"), "shift '3.0'"),
    "weights that are a folder": ("sd", as_folder(UNET), "it is a folder"),
    "a config that is a folder": ("sd", as_folder("unet/config.json"), "it is a folder"),
    "an index that is a folder": ("sd", as_folder("model_index.json"), "it is a folder"),
    "a link to nothing": ("sd", as_lost_link(UNET), "it is a link to"),
    "a config that links to nothing": ("sd", as_lost_link(VAE), "it is a link to"),
    "a FIFO for weights": ("sd", as_fifo(UNET), "no regular file"),
    "a FIFO for a config": ("sd", as_fifo("unet/config.json"), "no regular file"),
    "a deep config": ("sd", with_bytes(VAE, lambda _: b"[" * 100_000), "is not JSON"),
    "a scheduler of no class": ("sd", with_config(SCHEDULER, _class_name=None), "has no class"),
    "a scheduler of a list": ("sd", with_config(SCHEDULER, _class_name=["DDIMScheduler"]), "has no class"),
    "a scheduler that diffusers lacks": (
        "sd", with_config("model_index.json", scheduler=["diffusers", "Nope"]), "which is none of diffusers"),
    "a scheduler that is a shell": (
        "sd3", with_config("model_index.json", scheduler=["os", "system"]), "which is none of diffusers"),
    "timesteps of 400 digits": ("sd", with_config(SCHEDULER, num_train_timesteps=10**400), "1..100000"),
    "a beta of 400 digits": ("sd", with_config(SCHEDULER, beta_start=10**400), "beta_start '1000"),
    "a shift of 400 digits": ("sd3", with_config(SCHEDULER, shift=10**400), "shift '1000"),
    "a beta of NaN": ("sd", with_config(SCHEDULER, beta_end=float("nan")), "beta_end 'nan'"),
    "Karras' sigmas of a word": ("sdxl", with_config(SCHEDULER, use_karras_sigmas="x"), "gives no timesteps"),
    "a scaling_factor of 400 digits": ("sd", with_config(VAE, scaling_factor=10**400), "scaling_factor 1000"),
    "one mean for four channels": (
        "sdxl", with_config(VAE, latents_mean=[0.0], latents_std=[1.0]), "latents_mean [0.0]"),
    "a deviation of 0": (
        "sdxl", with_config(VAE, latents_mean=[0.0] * 4, latents_std=[0.0] * 4), "positive for latents_std"),
    "quantized text": ("sd", with_config("text_encoder/config.json", quantization_config={"quant_method": "x"}),
                       "quantized weights"),
    "a quantized UNet": ("sd", with_config("unet/config.json", quantization_config={}), "quantized weights"),
    "a million layers within": (
        "sd", with_config("text_encoder/config.json", text_config={"hidden_size": 16, "num_hidden_layers": 10**6}),
        "at most 1000 layers"),
    "a million blocks": (
        "sd", with_config("unet/config.json", down_block_types=["DownBlock2D"] * 10**6), "at most 1000 layers"),
    "a UNet for classes": ("sd", with_classes, "class_labels should be provided"),
    "a UNet for classes in SDXL": ("sdxl", with_classes, "class_labels should be provided"),
    "a shift of frequencies that is a word": (
        "sd", with_config("unet/config.json", freq_shift="x"), "the unet of"),
    "images larger than their places": (
        "sd3", with_config("transformer/config.json", sample_size=32), "cannot be greater than `pos_embed_max_size`"),
    "T5 without its tokenizer": (
        "sd3", with_config("model_index.json", tokenizer_3=[None, None]), "text encoder without its tokenizer_3"),
    "metadata of numbers": ("sd", with_header(UNET, lambda text: text.replace('"pt"', "1")), "are no texts"),
    "a header in UTF-16": ("sd", with_bytes(UNET, in_utf_16), "header is broken"),
    "a model_max_length of a word": (
        "sd", with_config("tokenizer/tokenizer_config.json", model_max_length="77"), "model_max_length 77"),
    "a vocabulary of gigabytes": (
        "sd", lambda folder: os.truncate(folder / "tokenizer/tokenizer.json", 3 * 10**9), "is longer than 50000000"),
    "a config of gigabytes": (
        "sd", lambda folder: os.truncate(folder / "unet/config.json", 3 * 10**9), "is longer than 50000000"),
    "a folder that is a file": ("sd", as_file("vae"), "no vae/config.json"),
    "pickles only": ("sd", as_pickles, "no safetensors"),
    "variants that differ": (
        "sd", lambda folder: in_variants(folder, {"unet": "fp16", "vae": "ema"}), "different variants only: ema, fp16"),
    "a shape with lost weights": (
        "sd", lambda folder: weights_of(folder, "unet").rename(folder / "unet" / "model.safetensors"),
        "no diffusion_pytorch_model.safetensors, and no index of shards, but model.safetensors"),
}  # fmt: skip
