"""Files of the Hugging Face hub: found by name in their repository, with the size and SHA-256 that it publishes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from repro.checkpoints.fetching import Fetched, unreachable
from repro.checkpoints.room import check_folder
from repro.errors import WeightsError
from repro.hashing import file_digest

_TIMEOUT_S = 30.0


@dataclasses.dataclass(frozen=True)
class HubFile:
    """A file of the repository ``hub`` at one ``revision``; ``sha256`` is empty for what the hub gives no digest of."""

    hub: str
    path: str
    revision: str
    url: str
    sha256: str
    size: int


def find_file(hub: str, names: Sequence[str], by_hand: str) -> HubFile:
    """Find the first of ``names`` in the repository ``hub``, in whatever folder.

    Raises ResourceError where the hub cannot be reached, WeightsError where there is no such repository or file.
    """
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    page = f"{api.endpoint}/{hub}"
    try:
        info = api.model_info(hub, files_metadata=True, timeout=_TIMEOUT_S)
    except HfHubHTTPError as error:
        found = str(error).strip().split("\n")[0]
        raise WeightsError(f"{page} gives no files", expected="a repository", found=found, mend=by_hand) from error
    except Exception as error:  # of the library it speaks HTTP with, which is not the same in all versions
        raise unreachable(page, error, by_hand) from error
    siblings = info.siblings or []
    for name in names:
        for entry in siblings:
            if PurePosixPath(entry.rfilename).name == name:
                revision = str(info.sha)
                url = hf_hub_url(hub, entry.rfilename, revision=revision, endpoint=api.endpoint)
                digest = entry.lfs.sha256 if entry.lfs else ""
                return HubFile(hub, entry.rfilename, revision, url, digest, entry.size or 0)
    held = ", ".join(sorted(s.rfilename for s in siblings)[:8])
    raise WeightsError(
        f"{page} holds no {' or '.join(names)}",
        expected=names[0],
        found=f"{len(siblings)} files: {held}{' ..' if len(siblings) > 8 else ''}",
        mend=f"see {page}; {by_hand}",
    )


def fetch_into_cache(file: HubFile, by_hand: str) -> Fetched:
    """Download ``file`` into the hub's own cache, where towers look for tags, by its library (which resumes).

    Raises ResourceError where it cannot be reached or has no room, WeightsError where the content is not the hub's.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    before = try_to_load_from_cache(file.hub, file.path)
    if not isinstance(before, str):
        check_folder(Path(constants.HF_HUB_CACHE), file.size, "HF_HUB_CACHE")
    try:
        path = Path(hf_hub_download(file.hub, file.path))  # of no named revision: the towers ask for none
    except Exception as error:
        raise unreachable(file.url, error, by_hand) from error
    digest = file_digest(path)
    if file.sha256 not in ("", digest):
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise WeightsError(
            f"{path} is not what the hub published; it was removed",
            expected=f"SHA-256 {file.sha256}",
            found=f"SHA-256 {digest}",
            mend="give the same command again",
        )
    return Fetched(path, digest, path.stat().st_size, bool(file.sha256), not isinstance(before, str))
