"""The small image-text encoder, a CLIP (Radford et al. 2021).

It has a residual convolutional tower for images and CLIP's transformer for texts. Both return feature vectors of
length 1, so the product of two of them is the cosine between a picture and a text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

IMAGE_PX = 64


class Block(nn.Module):
    """A residual block, x + conv(relu(norm(conv(relu(norm(x)))))), He et al. 2016.

    If the shape changes, a strided 1 x 1 convolution takes the place of the first x.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(width_in), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        same = stride == 1 and width_in == width
        self.shortcut = nn.Identity() if same else nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.relu(self.norm1(x)))
        y: Tensor = self.shortcut(x) + self.conv2(F.relu(self.norm2(h)))
        return y


class MiniEncoder(nn.Module):
    """Both towers. The file `config.json`, in the folder of the weights, holds the constructor's arguments.

    Args:
        tokenizer: makes the token ids that the text tower reads.
        widths: channels of the image tower at 32, 16, 8 and 4 px.
        features: number of entries of the feature vectors of both towers.
    """

    def __init__(
        self, tokenizer: CLIPTokenizer, widths: Sequence[int] = (32, 64, 128, 224), features: int = 128
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.config: dict[str, Any] = {"widths": list(widths), "features": features}
        self.stem = nn.Conv2d(3, widths[0], 5, 2, 2, bias=False)
        steps = [(a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(zip([widths[0], *widths], widths, strict=False))]
        self.blocks = nn.Sequential(*(layer for a, b, s in steps for layer in (Block(a, b, s), Block(b, b, 1))))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.project = nn.Linear(widths[-1], features)
        self.text = CLIPTextModelWithProjection(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=features,
                intermediate_size=2 * features,
                num_hidden_layers=1,
                num_attention_heads=4,
                max_position_embeddings=tokenizer.model_max_length,
                projection_dim=features,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )

    @classmethod
    def from_pretrained(cls, folder: Path) -> MiniEncoder:
        """Reads an encoder that `save_pretrained` wrote, in float32 and in evaluation mode."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        encoder = cls(CLIPTokenizer.from_pretrained(folder), **config)
        encoder.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in
                                 load_file(folder / "model.safetensors").items()})  # fmt: skip
        return encoder.eval()

    def save_pretrained(self, folder: Path) -> None:
        """Writes the arguments, the tokenizer, and the weights in half precision."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config) + "\n", encoding="utf-8")
        self.tokenizer.save_pretrained(folder)
        state = {k: v.half() if v.is_floating_point() else v for k, v in self.state_dict().items()}
        save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        """Returns the features of uint8 pictures (n, 3, h, w) of any size: float32 (n, features), each of length 1."""
        x = images.to(self.project.weight.device).float() / 255
        if x.shape[2:] != (IMAGE_PX, IMAGE_PX):
            x = F.interpolate(x, (IMAGE_PX, IMAGE_PX), mode="bilinear", antialias=True)
        return F.normalize(self.project(self.trunk(x)), dim=1)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Returns the features of n texts: float32 (n, features), each of length 1."""
        return self.text_features(texts)

    def trunk(self, x: Tensor) -> Tensor:
        """Returns the pooled features (n, widths[-1]), before the projection, of pictures (n, 3, 64, 64) in [0, 1]."""
        return F.relu(self.norm(self.blocks(self.stem(2 * x - 1)))).mean((2, 3))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Returns the same features as `encode_texts`, with gradients."""
        ids = self.tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids
        return F.normalize(self.text(ids.to(self.project.weight.device)).text_embeds, dim=1)
