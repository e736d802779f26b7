"""Files to predict: from folders, archives of any kind and lists, without what systems leave behind."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from sota_bench.errors import UserError
from sota_bench.ship.files import image_files

CONTENT = {"a/1.jpg": b"one", "b/2.jpg": b"two"}
JUNK = {"a/.DS_Store": b"x", "__MACOSX/a/._1.jpg": b"x", "b/Thumbs.db": b"x", "@eaDir/1.jpg": b"x"}


def read(*paths: object, listed: str = "") -> dict[str, bytes | str]:
    """Path -> content, or why there is none."""
    files = image_files([str(path) for path in paths], io.StringIO(listed))
    return {file.path: file.error if file.content is None else file.content for file in files}


def test_a_folder_and_a_list_of_files(tmp_path: Path) -> None:
    for name, content in (CONTENT | JUNK).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    expected = {f"{tmp_path}/{name}": content for name, content in CONTENT.items()}
    assert read(tmp_path) == expected
    missing = tmp_path / "none.jpg"
    assert read("-", listed="\n".join([*expected, str(missing)])) == expected | {
        str(missing): "No such file or directory"
    }


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_files_name_links_and_what_points_outside(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "images.tar"
    with tarfile.open(path, mode) as archive:
        for name, content in (CONTENT | JUNK | {"../out.jpg": b"x"}).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("b/again.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "a/1.jpg"
        archive.addfile(link)
    expected = {f"{path}/{name}": content for name, content in CONTENT.items()} | {
        f"{path}/b/again.jpg": "a link to a/1.jpg, which is read under that name",
        f"{path}/../out.jpg": "points outside the archive, or is not a valid name",
    }
    assert read(path) == expected


def test_a_zip_of_windows_tools(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in ({"a/": b""} | CONTENT | JUNK).items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name.replace("/", "\\")
            archive.writestr(entry, content)
    assert read(path) == {f"{path}/{name}": content for name, content in CONTENT.items()}


def test_archives_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    damaged, encrypted = tmp_path / "a.tar.gz", tmp_path / "b.zip"
    damaged.write_bytes(b"no archive at all")
    with pytest.raises(UserError, match="is not a readable archive"):
        read(damaged)
    with zipfile.ZipFile(encrypted, "w") as archive:
        archive.writestr("1.jpg", b"one")
    content = bytearray(encrypted.read_bytes())
    content[6] |= 1  # the flag of the member, and of its entry in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    encrypted.write_bytes(content)
    with pytest.raises(UserError, match=r"encrypted members, such as '1\.jpg'"):
        read(encrypted)
