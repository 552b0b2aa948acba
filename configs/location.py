"""The place of a run's files: a path on this machine, or a URI of a file system that pyarrow supports."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from configs.errors import InvalidValueError, RequestError

# Object stores. Their URIs must name a bucket (Azure: a container) before any folder.
BUCKETED = frozenset({"s3", "gs", "gcs", "abfs", "abfss"})
SCHEMES = (*sorted(BUCKETED), "hdfs", "viewfs", "file")
# Options that a URI may have after its question mark. A URI is written into the run's record, so none is a secret.
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
    """A path in a run's folder on another file system, with the few methods of `pathlib.PurePath` that a run needs.

    Attributes:
        uri: the URI of the run's folder, without a slash at its end.
        below: the names from that folder to this path: names of tables and keys, never text of a prompt.
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
        """The last name of the path: a part's, a folder's, or, at the top of a bucket, the bucket's."""
        return self.below[-1] if self.below else unquote(self.uri.partition("?")[0].rpartition("/")[2])

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.name.rpartition(".")[0] or self.name


Location = Path | RemotePath


def location_of(text: str) -> Location:
    """Return the place that a path or a URI names. `file:///a/b` gives the path /a/b.

    Raises:
        InvalidValueError: the URI has an unknown scheme, names no bucket, or holds a secret.
    """
    if not _URI.match(text):
        return Path(text)
    uri = _checked_uri(text)
    if uri.scheme == "file":
        return _local_path(uri)
    if uri.scheme in BUCKETED and not uri.netloc:
        raise InvalidValueError("the URI names no bucket", f"write {uri.scheme}://BUCKET/FOLDER")
    if not uri.netloc and not uri.path.strip("/"):
        raise InvalidValueError("the URI names no folder", f"write {uri.scheme}:///FOLDER")
    base, mark, options = text.partition("?")
    return RemotePath(base.rstrip("/") + mark + options)


def check_output_of_file(output: str, file: str) -> None:
    """Check the key `output` of a configuration file, which may come from a stranger, without the user's word for it.

    A folder of somebody else's could be one that a stranger reads. A URI has the prompts, the images and requests that
    are signed with the user's credentials sent to another machine.

    Raises:
        RequestError: the output is neither in the current folder nor in a folder that belongs to the user.
    """
    place = location_of(output)
    if isinstance(place, Path):
        if os.pardir not in Path(os.path.relpath(place)).parts or _owner(place) == os.geteuid():
            return
        problem = "this file writes the results into a folder that is not yours"
    else:
        problem = "this file writes the results on another file system"
    raise RequestError(
        file=file, key="output", value=output, problem=problem,
        allowed="in a file, a folder within the current one or within one of yours; on the command line, any place",
        fix=f"add {shlex.quote(f'output={output}')} to the command if you want that",
    )  # fmt: skip


def _owner(place: Path) -> int:
    """The number of the user to whom a folder belongs, or the folder that it would be made in."""
    for there in (here := Path(os.path.abspath(place)), *here.parents):
        try:
            return there.stat().st_uid
        except OSError:
            continue
    return -1


def _checked_uri(text: str) -> SplitResult:
    """The parts of a URI that has a known scheme, only known options, and no secret."""
    try:
        uri = urlsplit(text)
    except ValueError as error:
        raise InvalidValueError(f"the URI cannot be read: {error}", "write SCHEME://BUCKET/FOLDER") from error
    if uri.scheme not in SCHEMES and not uri.scheme.startswith("fsspec+"):
        raise InvalidValueError(f"no file system has the scheme {uri.scheme}://", f"use one of {', '.join(SCHEMES)}")
    if uri.password is not None or (uri.username and uri.scheme in ("s3", "gs", "gcs")):
        raise InvalidValueError("credentials in a URI would be written into the run's record", _NO_SECRETS)
    if uri.fragment:
        raise InvalidValueError("a # ends the path of a URI", "write it as %23")
    unknown = {option.partition("=")[0] for option in uri.query.split("&") if option} - OPTIONS
    if unknown:
        raise InvalidValueError(f"{', '.join(sorted(unknown))} may not be in this URI", _NO_SECRETS)
    return uri


def _local_path(uri: SplitResult) -> Path:
    if uri.netloc not in ("", "localhost") or not uri.path:
        raise InvalidValueError("the URI names no path on this machine", "write file:///FOLDER, with three slashes")
    return Path(unquote(uri.path))
