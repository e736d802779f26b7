"""Uploads a bundle as a model repository, with the upload of huggingface_hub. No torch here."""

from __future__ import annotations

from pathlib import Path

from sota_bench.errors import UserError

PREFIX = "hub:"


def repository_name(target: str) -> str:
    """The name of the repository that ``hub:NAME`` or ``hub:OWNER/NAME`` stands for.

    Raises:
        UserError: it is written in another way, or no repository can have this name.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    remedy = "write hub:NAME or hub:OWNER/NAME"
    if not target.startswith(PREFIX):
        raise UserError("--to", "", f"{target!r} is no repository", remedy)
    name = target.removeprefix(PREFIX)
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError("--to", "", f"{target!r}: {' '.join(str(error).split())}", remedy) from None
    return name


def upload(folder: Path, name: str, message: str) -> str:
    """Uploads a folder into a model repository, which is made, private, where there is none.

    The endpoint and the token are those of huggingface_hub: ``HF_ENDPOINT``, ``HF_TOKEN``, or what
    ``hf auth login`` stored.

    Args:
        folder: of the bundle; its hidden files stay here.
        name: of the repository.
        message: of the commit.

    Returns:
        The address of the repository.

    Raises:
        UserError: the upload failed.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="sota_bench")
    try:
        repository = api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(
            repo_id=repository.repo_id, folder_path=folder, commit_message=message, ignore_patterns=[".*", "**/.*"]
        )
    except Exception as error:  # network, credentials, rights: errors of several libraries
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        remedy = "check the network and the token (`hf auth login`, or HF_TOKEN); --out DIR keeps the folder here"
        raise UserError("--to", f"{PREFIX}{name}", f"cannot be uploaded: {reason}", remedy) from error
    return str(repository)
