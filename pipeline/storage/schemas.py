"""The columns of a run's tables."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# By this entry of the schema's metadata, Hugging Face `datasets` recognises the column as an `Image` feature.
IMAGE_FEATURE = {b"huggingface": b'{"info": {"features": {"image": {"_type": "Image"}}}}'}
# This entry says that every page of the file has a checksum.
CHECKSUMS = {b"srsoup.checksums": b"crc32"}

# A map in memory. In files it is a list of entries, because `datasets` has no maps.
QUERIES = pa.map_(pa.string(), pa.int64())
QUERIES_IN_FILES = pa.list_(pa.struct([("key", pa.string()), ("value", pa.int64())]))

SAMPLES = pa.schema(
    [
        ("key", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("source", pa.string()),
        ("style", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("weight_index", pa.int32()),
        ("weights", pa.list_(pa.float64())),
        ("image", IMAGE),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("tags", pa.list_(pa.string())),
    ]
)
SCORES = pa.schema(
    [
        ("key", pa.string()),
        ("weight_index", pa.int32()),
        ("reward", pa.string()),
        ("role", pa.string()),
        ("value", pa.float64()),
    ]
)
STEPS = pa.schema(
    [
        ("key", pa.string()),
        ("step", pa.int32()),
        ("timestep", pa.int32()),
        ("phase", pa.string()),
        ("sigma", pa.float64()),
        ("weight_index", pa.int32()),
        ("reward", pa.string()),
        ("gradient_norm", pa.float64()),
        ("reward_mean", pa.float64()),
        ("reward_std", pa.float64()),
        ("overlap_q25", pa.float64()),
        ("overlap_q50", pa.float64()),
        ("overlap_q75", pa.float64()),
        ("gradient_cosines", pa.list_(pa.float64())),
        ("anchor", pa.int32()),
        ("anchor_cosine", pa.float64()),
        ("candidates", pa.int32()),
    ]
)
COSTS = pa.schema(
    [
        ("key", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("queries", pa.int64()),
        ("queries_by_reward", QUERIES),
        ("decodes", pa.int64()),
        ("denoises", pa.int64()),
        ("forwards", pa.int64()),
        ("backwards", pa.int64()),
        ("surrogate_round", pa.int32()),
        ("weights_round", pa.int32()),
        ("surrogate", pa.string()),
        ("seconds_total", pa.float64()),
        ("seconds_denoise", pa.float64()),
        ("seconds_lookahead", pa.float64()),
        ("seconds_decode", pa.float64()),
        ("seconds_reward", pa.float64()),
        ("seconds_surrogate", pa.float64()),
        ("seconds_training", pa.float64()),
        ("seconds_wait", pa.float64()),
        ("peak_memory_bytes", pa.int64()),
        ("attempts", pa.int32()),
        ("tags", pa.list_(pa.string())),
    ]
)
FAILURES = pa.schema(
    [
        ("key", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", pa.string()),
        ("error_class", pa.string()),
        ("message", pa.string()),
        ("traceback", pa.string()),
        ("attempts", pa.int32()),
    ]
)
SCHEMAS: Mapping[str, pa.Schema] = {
    "samples": SAMPLES,
    "scores": SCORES,
    "steps": STEPS,
    "costs": COSTS,
    "failures": FAILURES,
}


def file_metadata(table: str) -> dict[bytes, bytes]:
    """Return the entries of the schema's metadata in every part of a table."""
    return CHECKSUMS | (IMAGE_FEATURE if table == "samples" else {})


def file_options(table: str) -> dict[str, Any]:
    """Return the options with which the parts of a table are written. Statistics of images would be copies of them."""
    plain = [field.name for field in SCHEMAS[table] if not pa.types.is_nested(field.type)]
    statistics: Any = plain if table == "samples" else True
    return {"compression": "zstd", "write_page_checksum": True, "write_statistics": statistics}
