"""Coverage-guided fuzzing of the readers of foreign data: manifests, and .tar, .tgz and .zip archives.

    python fuzz/fuzz_data.py manifest -max_total_time=600     # also: tar, tgz, zip

Any input must give a data set or one clear line, write nothing outside its folder, and read back what it wrote.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import atheris
from fuzzing import FOLDER, Target, one_line, run

INSTRUMENTED = ["sota_bench", "tarfile", "zipfile", "gzip"]
for loaded in INSTRUMENTED[1:]:
    sys.modules.pop(loaded, None)  # so that they are imported once more, with counters
with atheris.instrument_imports(include=INSTRUMENTED):
    import gzip
    import tarfile
    import zipfile

    from sota_bench.data import tarindex, unpack
    from sota_bench.data.files import TarSource
    from sota_bench.data.manifest import Manifest
    from sota_bench.data.members import safe_name
    from sota_bench.errors import UserError

MOST_BYTES = 1 << 22
"""Size of the fuzzer's simulated disk: an archive that unpacks to more must be refused, and quickly."""

shutil.disk_usage = lambda path: shutil._ntuple_diskusage(1 << 40, 0, MOST_BYTES + unpack._SPARE_BYTES)

# Checksums are not checked, since otherwise nearly every changed input would be refused for its checksum.
tarfile.calc_chksums = lambda header: (tarfile.nti(header[148:156]),) * 2
zipfile.ZipExtFile._update_crc = lambda self, content: None


def fuzz_manifest(data: bytes) -> None:
    """A manifest; what is read is written and read as the same."""
    path = FOLDER / "manifest.csv"
    path.write_bytes(data)
    try:
        manifest = Manifest.load(path)
    except UserError as error:
        one_line(error)
        return
    manifest.save(path)
    again = Manifest.load(path)
    same = manifest.items.equals(again.items) and manifest.left_out.equals(again.left_out)
    if not same or manifest.digest != again.digest or manifest.name != again.name:
        raise AssertionError("a manifest changes when it is written and read")


def tar(data: bytes) -> None:
    """A .tar that is read in place: every member that is listed lies inside it, under a name that stays inside."""
    path = FOLDER / "images.tar"
    path.write_bytes(data)
    try:
        members = tarindex.read(path).members
        read = tarindex.TarReader(str(path), members)
        for name, (offset, size) in members.items():
            if safe_name(name) != name or read(name) != data[offset : offset + size]:
                raise AssertionError(f"{name!r} is not what the archive holds")
        TarSource("fuzz", path).scan()
    except UserError as error:
        one_line(error)


def _unpack(archive: Path) -> None:
    """Unpack; what comes out is plain files in one folder, and nothing else has changed."""
    room = FOLDER / "room"
    shutil.rmtree(room, ignore_errors=True)
    cache = room / "cache"
    cache.mkdir(parents=True)
    try:
        folder = unpack.unpack(archive, cache)
    except UserError as error:
        one_line(error)
        left = list(cache.iterdir())
    else:
        left = [path for path in cache.iterdir() if path != folder]
        unpacked = list(folder.rglob("*"))
        left += [path for path in unpacked if path.is_symlink() or not (path.is_file() or path.is_dir())]
        sizes = {path.stat().st_ino: path.stat().st_size for path in unpacked if path.is_file()}  # links take no room
        if sum(sizes.values()) > MOST_BYTES:
            raise AssertionError("it unpacks to more than fits on the disk")
    if left or list(room.iterdir()) != [cache]:
        raise AssertionError(f"it leaves {left} in {list(room.iterdir())}")


def tgz(data: bytes) -> None:
    """A .tgz: where the first byte is even, the rest is compressed here, so that the .tar inside is what varies."""
    path = FOLDER / "images.tgz"
    even = data[:1] < b"\x80"
    path.write_bytes(gzip.compress(data[1:], 1) if even else data[1:])
    _unpack(path)


def zip_(data: bytes) -> None:
    """A .zip."""
    path = FOLDER / "images.zip"
    path.write_bytes(data)
    _unpack(path)


MEMBERS = {"train/a/1.png": b"first", "train/b/2.png": b"second", "./val/a/3.png": b"third", "../out.png": b"outside"}


def _tar_seed(kind: int, names: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:", format=kind) as archive:
        for name, content in list(MEMBERS.items())[:names]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("train/a/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return packed.getvalue()[: 1024 * (names + 2)]


def _zip_seed(method: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content * 20)
    return packed.getvalue()


MANIFEST = b"""sota-bench manifest 3 {"name": "seed", "junk": 1, "notes": [], "alarms": ["look"]}
path,split,label,sha256,bytes,scale,near_copies,group,left_out
train/a/1.png,train,a,%s,5,,,,
train/b/2.png,train,b,%s,6,0.0:4095.0,,p 1,
val/a/3.png,select,a,%s,7,,near,,
val/b/4.png,test,b,%s,8,,near,,
val/b/5.png,val,b,,0,,,,"so, ""empty"", it is"
""" % tuple(bytes([digit]) * 64 for digit in b"0123")

TARS = [_tar_seed(kind, names) for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
        for names in (2, 4)]  # fmt: skip
TARGETS: dict[str, Target] = {
    "manifest": (fuzz_manifest, [MANIFEST]),
    "tar": (tar, TARS),
    "tgz": (tgz, [b"\0" + seed for seed in TARS] + [b"\xff" + gzip.compress(TARS[0])]),
    "zip": (zip_, [_zip_seed(method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2,
                                                    zipfile.ZIP_LZMA)]),
}  # fmt: skip

if __name__ == "__main__":
    run(TARGETS)
