"""Reads a listing as its owner means it: by class folders, by tables of labels, or by the files beside each image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sota_bench.data.columns import MOST_CLASHES, could_be_labels, label_values, read_tables
from sota_bench.data.formats import IMAGE_SUFFIXES, OTHER_SUFFIXES, image_format, suffix_of
from sota_bench.data.groups import read_groups
from sota_bench.data.layout import NO_SPLIT_FOLDER, OTHER_FOLD, OUTSIDE, Layout, Member, read_folders
from sota_bench.data.listing import Listing
from sota_bench.data.names import confusable, normalized, readable
from sota_bench.data.options import FOLDERS, ReadingOptions, roles_key
from sota_bench.data.samples import is_sample_file, sample_table
from sota_bench.data.split_names import split_name
from sota_bench.data.tables import LABEL_COLUMNS, FileIndex, LabelTable, find_tables, simple_name
from sota_bench.errors import UserError

NOT_AN_IMAGE = "not an image"
NO_SPLIT_LIST = "in no list of a split"
_TOLD = ("no label", NO_SPLIT_FOLDER, NO_SPLIT_LIST, OUTSIDE, OTHER_FOLD)


def read_listing(
    listing: Listing, read: Callable[[str], bytes], head: Callable[[str], bytes], options: ReadingOptions, origin: str
) -> Layout:
    """The split and class of every image.

    Args:
        listing: the files of a source.
        read: reads a file.
        head: reads the first ``HEAD_BYTES`` bytes of a file.
        options: what the user says about the data set.
        origin: the source as the user knows it, for errors.

    Raises:
        UserError: the data set cannot be read without a guess, or holds no images.
    """
    left_out: list[tuple[str, str]] = []
    root = options.root.strip("/")
    within, images, others = root + "/" if root else "", list[str](), dict[str, int]()
    listed = {path for table in listing.tables for path in table.files}
    for path, size, _ in listing.files:
        if not path.startswith(within):
            left_out.append((path, f"{OUTSIDE}: not below data.root"))
        elif path in listed or _is_image(path, head):
            images.append(path)
        else:
            others[path] = size
    if not images:
        raise _no_images(listing, options, origin, within)
    layout = _read_within(images, others, listing.tables, read, options, within, origin)
    if options.group:
        tables = _with_group(layout.tables, images, others, read, options, origin)
        layout.tables_used |= set(read_groups(layout, tables, options.group, origin))
    used_beside = {path for path in others if is_sample_file(path)} if layout.beside else set()
    left_out += [(path, NOT_AN_IMAGE) for path in others if path not in layout.tables_used | used_beside]
    layout.left_out += left_out
    layout.alarms = [*_left_out_alarms(layout), *layout.alarms]
    _name_classes(layout, options, origin)
    return layout


def _left_out_alarms(layout: Layout) -> list[str]:
    """A sentence for each reason why images are not part of the data set."""
    examples: dict[str, list[tuple[str, str]]] = {}
    for path, reason in layout.left_out:
        kind = reason.partition(": ")[0]
        if kind in _TOLD:
            examples.setdefault(kind, []).append((path, reason))
    alarms = []
    for entries in examples.values():
        count = "1 image is" if len(entries) == 1 else f"{len(entries):,} images are"
        path, reason = entries[0]
        alarms.append(f"{count} left out, such as {path} ({reason}).")
    return alarms


def _is_image(path: str, head: Callable[[str], bytes]) -> bool:
    suffix = suffix_of(path)
    if suffix in IMAGE_SUFFIXES:
        return True
    return suffix not in OTHER_SUFFIXES and image_format(head(path)) != ""


def _no_images(listing: Listing, options: ReadingOptions, origin: str, within: str) -> UserError:
    if within and not any(path.startswith(within) for path, _, _ in listing.files):
        return UserError(origin, "data.root", f"there is no folder {options.root!r}", "name a folder inside the source")
    endings = sorted({suffix_of(path) or path.rpartition("/")[2] for path, _, _ in listing.files})
    held = f"its files are {', '.join(endings[:8])}" if endings else "it holds no files"
    return UserError(origin, "", f"there are no images: {held}", "use train/<class>/*.jpg and val/<class>/*.jpg")


@dataclass
class _Read(Layout):
    """A layout, the tables that were found, and which other files it was read from."""

    tables: list[LabelTable] = field(default_factory=list)
    tables_used: set[str] = field(default_factory=set)
    beside: bool = False


def _read_within(
    images: Sequence[str], others: Mapping[str, int], own_tables: Sequence[LabelTable], read: Callable[[str], bytes],
    options: ReadingOptions, within: str, origin: str,
) -> _Read:  # fmt: skip
    """Read by what there is: the source's own table, files beside each image, a table, or folders."""
    if own_tables:
        return _by_tables(own_tables, images, options, origin)
    if options.labels != FOLDERS and not options.labels:
        table = sample_table(images, others, read)
        if table is not None:
            layout = _by_tables([table], images, options, origin)
            layout.beside = True
            return layout
    inside = [path.removeprefix(within) for path in images]
    if options.labels == FOLDERS:
        return _by_folders(inside, options, within, origin)
    index = FileIndex(images)
    tables = find_tables(others, index, read, options, origin)
    if options.labels or options.label_column:
        if options.label_column:
            tables = [table for table in tables if options.label_column in table.columns.columns] or tables
        if not tables:
            raise UserError(origin, "data.labels", "there is no table that names the images", "name its file")
        return _by_tables(tables, images, options, origin)
    if not tables:
        return _by_folders(inside, options, within, origin)
    return _by_folders_or_tables(inside, images, tables, options, within, origin)


def _by_tables(tables: Sequence[LabelTable], images: Sequence[str], options: ReadingOptions, origin: str) -> _Read:
    layout = read_tables(tables, images, options, origin)
    used = {table.name for table in tables}
    others = _other_labels(tables, layout.members)
    return _Read(
        layout.members, layout.left_out, layout.notes, layout.alarms, others, tables=list(tables), tables_used=used
    )


def _by_folders(inside: Sequence[str], options: ReadingOptions, within: str, origin: str) -> _Read:
    layout = read_folders(inside, options, origin)
    members = {within + path: member for path, member in layout.members.items()}
    left_out = [(within + path, reason) for path, reason in layout.left_out]
    return _Read(members, left_out, layout.notes, layout.alarms)


def _by_folders_or_tables(
    inside: Sequence[str], images: Sequence[str], tables: Sequence[LabelTable], options: ReadingOptions, within: str,
    origin: str,
) -> _Read:  # fmt: skip
    """Decide between class folders and tables that were found beside them.

    Raises:
        UserError: both can be read, and they say different things.
    """
    try:
        folders = _by_folders(inside, options, within, origin)
    except UserError as no_folders:
        usable = [table for table in tables if _has_labels(table, options, origin)]
        if usable:
            return _by_tables(usable, images, options, origin)
        columns = ", ".join(map(str, tables[0].columns.columns[:12]))
        problem = f"no column of {tables[0].name} is known to be the labels ({columns}), and {no_folders.problem}"
        raise UserError(origin, "data.label_column", problem, "name the column of labels") from None
    classes = {path: member.label for path, member in folders.members.items()}
    agreeing = [table for table in tables if _agrees(table, classes)]
    others = [table for table in tables if could_be_labels(table.columns, options)]
    if others and not agreeing:
        table = max(others, key=lambda table: sum(map(bool, table.files)))
        shown = ", ".join(sorted(set(classes.values()))[:4])
        columns = ", ".join(map(str, table.columns.columns[:8]))
        problem = f"the folders ({shown}) are other classes than any column of {table.name} ({columns})"
        remedy = 'write data.labels = "folders", or name the table and its data.label_column'
        raise UserError(origin, "data.labels", problem, remedy)
    _add_unfoldered(folders, classes, agreeing, options, origin)
    _take_listed_splits(folders, tables)
    folders.other_labels = _other_labels(agreeing, folders.members)
    folders.tables = list(tables)
    return folders


def _take_listed_splits(folders: _Read, tables: Sequence[LabelTable]) -> None:
    """Give class folders without splits those of lists of files, such as ``train.txt`` and ``test.txt``."""
    lists = [(meaning.split, table) for table in tables
             if not len(table.columns.columns) and (meaning := split_name(table.name.rpartition("/")[2]))]  # fmt: skip
    if any(member.split for member in folders.members.values()) or "train" not in {split for split, _ in lists}:
        return
    order = ("train", "val", "test")
    splits: dict[str, str] = {}
    for split, table in sorted(lists, key=lambda entry: order.index(entry[0])):
        for path in table.files:
            splits.setdefault(path, split)
    names = ", ".join(table.name for _, table in lists)
    folders.left_out += [(path, f"{NO_SPLIT_LIST}: not in {names}") for path in folders.members if path not in splits]
    folders.members = {
        path: Member(splits[path], member.label) for path, member in folders.members.items() if path in splits
    }
    folders.notes.append(f"splits are those of {names}")
    folders.tables_used |= {table.name for _, table in lists}


def _with_group(
    tables: Sequence[LabelTable], images: Sequence[str], others: Mapping[str, int], read: Callable[[str], bytes],
    options: ReadingOptions, origin: str,
) -> Sequence[LabelTable]:  # fmt: skip
    """The tables that were read; where none has a column ``data.group``, all others that name images too."""
    if any(options.group in table.columns.columns for table in tables):
        return tables
    anywhere = replace(options, labels="", file_column="")
    return [*tables, *find_tables(others, FileIndex(images), read, anywhere, origin)]


def _other_labels(tables: Sequence[LabelTable], members: Mapping[str, Member]) -> dict[str, dict[str, str]]:
    """The columns of tables that give images names of the classes, such as labels with noise."""
    classes = {member.label for member in members.values()}
    columns: dict[str, dict[str, str]] = {}
    for table in tables:
        rows = [(row, path) for row, path in enumerate(table.files) if path in members]
        for name in table.columns.columns:
            values = table.columns[name].tolist()
            labels = {path: values[row].strip() for row, path in rows}
            if labels and classes >= set(labels.values()):
                columns.setdefault(str(name), {}).update(labels)
    return columns


def _has_labels(table: LabelTable, options: ReadingOptions, origin: str) -> bool:
    try:
        label_values(table, options, origin)
    except UserError:
        if any(simple_name(name) in LABEL_COLUMNS for name in table.columns.columns):
            raise
        return False
    return True


def _agrees(table: LabelTable, classes: Mapping[str, str]) -> bool:
    """Whether some column of a table divides the images as the folders do."""
    rows = [(row, classes[path]) for row, path in enumerate(table.files) if path in classes]
    if not rows:
        return True  # it is about other images
    positions, folder_of = [row for row, _ in rows], [label for _, label in rows]
    for name in table.columns.columns:
        values = table.columns[name].iloc[positions].tolist()
        first: dict[str, str] = {}
        clashes = sum(first.setdefault(value, label) != label for value, label in zip(values, folder_of, strict=True))
        if clashes <= MOST_CLASHES * len(values) and len(first) == len(set(folder_of)):
            return True
    return False


def _add_unfoldered(
    folders: _Read, classes: Mapping[str, str], tables: Sequence[LabelTable], options: ReadingOptions, origin: str
) -> None:
    """Add images that lie in no class folder, where a table gives them a class that the folders have."""
    unlabelled = {path for path, reason in folders.left_out if reason.startswith("no label")}
    if not unlabelled:
        return
    for table in tables:
        rows = [row for row, path in enumerate(table.files) if path in unlabelled]
        column = _column_of_classes(table, rows, set(classes.values()))
        if not column:
            continue
        chosen = replace(options, label_column=column)
        layout = read_tables([table], [path for path in table.files if path], chosen, origin)
        added = {path: member for path, member in layout.members.items()
                 if path in unlabelled and member.label in set(classes.values())}  # fmt: skip
        folders.members |= {path: Member(member.split or "val", member.label) for path, member in added.items()}
        folders.left_out = [(path, reason) for path, reason in folders.left_out if path not in added]
        folders.notes += layout.notes
        folders.tables_used.add(table.name)


def _column_of_classes(table: LabelTable, rows: Sequence[int], classes: Collection[str]) -> str:
    """The column that holds names of known classes in these rows, or ""."""
    for name in table.columns.columns if rows else ():
        if table.columns[name].iloc[list(rows)].isin(list(classes)).all():
            return str(name)
    return ""


def _name_classes(layout: Layout, options: ReadingOptions, origin: str) -> None:
    """Give every class its one name: in Unicode's NFC, and readable where the classes are Imagenette's.

    Raises:
        UserError: two classes differ only by case or outer spaces.
    """
    names = {label: normalized(label) for label in {member.label for member in layout.members.values()}}
    for first, second in confusable(names.values()):
        if not all(options.folders.get(name) == "class" for name in (first, second)):
            problem = f"classes {first!r} and {second!r} differ only by case or outer spaces: did you mean one class?"
            remedy = f"rename one, or say that both are meant: {roles_key({first: 'class', second: 'class'})}"
            raise UserError(origin, "", problem, remedy)
    shown = readable(set(names.values()))
    layout.members = {path: Member(member.split, shown[names[member.label]]) for path, member in layout.members.items()}
    layout.other_labels = {
        column: {path: shown[names[label]] for path, label in labels.items()}
        for column, labels in layout.other_labels.items()
    }
