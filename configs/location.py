"""Where a run's files are: a path on this machine, or a URI of a file system that pyarrow knows."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Object stores, whose URI has to name a bucket (a container, of Azure) at once.
BUCKETED = frozenset({"s3", "gs", "gcs", "abfs", "abfss"})
SCHEMES = (*sorted(BUCKETED), "hdfs", "viewfs", "file")
# What a URI may say after its question mark. It goes into the run's record, so nothing here may be a secret.
OPTIONS = frozenset(
    {
        "region", "scheme", "endpoint_override", "allow_bucket_creation", "tls_ca_file_path", "retry_limit_seconds",
        "blob_storage_authority", "blob_storage_scheme", "dfs_storage_authority", "dfs_storage_scheme", "enable_tls",
        "user", "replication", "buffer_size", "default_block_size",
    }
)  # fmt: skip
_URI = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_NO_SECRETS = (
    "give credentials in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "GOOGLE_APPLICATION_CREDENTIALS) or by the machine's role"
)


@dataclass(frozen=True)
class RemotePath:
    """A place in a run's folder on another file system: as little of `pathlib.PurePath` as a run needs.

    Attributes:
        uri: of the run's folder, without a slash at its end.
        below: names from there to the place; they are tables and keys, never text of a prompt.
    """

    uri: str
    below: tuple[str, ...] = ()

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(self.uri, (*self.below, name))

    def __str__(self) -> str:
        base, mark, options = self.uri.partition("?")
        return "/".join((base, *self.below)) + mark + options

    @property
    def name(self) -> str:
        """The last name: a part's, or the folder's (the bucket's, at its top)."""
        return self.below[-1] if self.below else unquote(self.uri.partition("?")[0].rpartition("/")[2])

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.name.rpartition(".")[0] or self.name


Location = Path | RemotePath


def location_of(text: str) -> Location:
    """The place that a path or a URI names; `file:///a/b` is the path /a/b.

    Raises:
        ValueError: it is a URI of no file system, names no bucket, or holds a secret. The message is
            "problem; fix".
    """
    if not _URI.match(text):
        return Path(text)
    whole = urlsplit(text)
    if whole.scheme not in SCHEMES and not whole.scheme.startswith("fsspec+"):
        raise ValueError(f"no file system has the scheme {whole.scheme}://; use one of {', '.join(SCHEMES)}")
    if whole.password is not None or (whole.username and whole.scheme in ("s3", "gs", "gcs")):
        raise ValueError(f"credentials in a URI are written into the run's record; {_NO_SECRETS}")
    if whole.fragment:
        raise ValueError("a # ends a URI; write it as %23")
    told = {option.partition("=")[0] for option in whole.query.split("&") if option}
    if told - OPTIONS:
        raise ValueError(f"{', '.join(sorted(told - OPTIONS))} may not be in this URI; {_NO_SECRETS}")
    if whole.scheme == "file":
        return _local(text)
    if whole.scheme in BUCKETED and not whole.netloc:
        raise ValueError(f"the URI names no bucket; write {whole.scheme}://BUCKET/FOLDER")
    if not whole.netloc and not whole.path.strip("/"):
        raise ValueError(f"the URI names no folder; write {whole.scheme}:///FOLDER")
    base, mark, options = text.partition("?")
    return RemotePath(base.rstrip("/") + mark + options)


def _local(text: str) -> Path:
    whole = urlsplit(text)
    if whole.netloc not in ("", "localhost") or not whole.path:
        raise ValueError("this names no path on this machine; write file:///FOLDER, with three slashes")
    return Path(unquote(whole.path))
