"""The surrogates of the embedded model that come with SRSoup, by name."""

from pathlib import Path

FOLDER = Path(__file__).parent / "weights" / "surrogates"


def packaged_surrogates() -> dict[str, Path]:
    """Return name -> file, of every surrogate of the embedded model."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}
