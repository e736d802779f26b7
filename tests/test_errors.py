"""Mistakes are one line, whatever is quoted in them; memory and disks that ran out are known in all their forms."""

from __future__ import annotations

import errno

import pytest

from sota_bench.errors import UserError, disk_is_full, is_environmental, ran_out_of_memory


def test_a_problem_that_quotes_a_file_is_shortened_in_the_middle() -> None:
    error = UserError("d.zip", "", "first words " + "\0\n" * 5000 + " last words", "download it again")
    line = str(error)
    assert line.startswith("d.zip: first words") and line.endswith("last words; download it again")
    assert line.isprintable() and len(line) < 2000


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: can't allocate memory: ..."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_ran_out(error: Exception, ran_out: bool) -> None:
    assert ran_out_of_memory(error) == ran_out


def test_torchs_own_error_is_known() -> None:
    import torch

    assert ran_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert ran_out_of_memory(caught.value)


def test_a_disk_that_is_full() -> None:
    from safetensors import SafetensorError

    full = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert disk_is_full(full) and not disk_is_full(OSError(errno.EACCES, "Permission denied"))
    assert disk_is_full(SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"))
    assert not disk_is_full(SafetensorError("Error while deserializing header: header too large"))
    wrapped = UserError("cache", "", "cannot be written", "free some space")
    wrapped.__cause__ = full
    assert disk_is_full(wrapped)


def test_the_surroundings_are_told_from_mistakes() -> None:
    class HfHubHTTPError(Exception):
        __module__ = "huggingface_hub.errors"

    refused = UserError("recipe.weights", "timm", "could not load resnet18", "check the network")
    assert not is_environmental(refused) and not is_environmental(ValueError("3 of 4 tensors are of another shape"))
    refused.__cause__ = HfHubHTTPError("503")
    assert is_environmental(refused) and is_environmental(FileNotFoundError(2, "No such file", "weights.pth"))
    try:
        try:
            raise PermissionError(13, "Permission denied")
        except PermissionError:
            raise UserError("store", "", "the cache cannot be written", "free some space") from None
    except UserError as error:
        assert is_environmental(error)
    try:
        try:
            raise FileNotFoundError
        except FileNotFoundError:
            raise ValueError("found while looking elsewhere") from None
    except ValueError as error:
        assert not is_environmental(error)
