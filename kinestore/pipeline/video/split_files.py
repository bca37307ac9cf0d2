"""Mark the videos of a folder by official files of training and test clips."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from kinestore.pipeline.notes import shown
from kinestore.pipeline.video.find_videos import FoundVideos, some_names
from kinestore.pipeline.video.segment import split_uri
from kinestore.pipeline.video.split_formats import ListedClip, SplitFile, read_split_file
from kinestore.pipeline.video.suffixes import suffix_of
from kinestore.store import Source, UsageError
from kinestore.store.io.addresses import open_storage

Divisions = Mapping[int | None, Mapping[tuple[str, str], tuple[str, ListedClip]]]
"""By the number of a division and a clip's folder and name, the file that lists it, and how."""


@dataclass
class _Marked:
    """Marks of one video: split by division, and label."""

    splits: dict[int | None, str | None] = field(default_factory=dict)
    label: str | None = None


def mark_splits(found: FoundVideos, files: Sequence[str]) -> FoundVideos:
    """Return the videos with the splits and labels that files list.

    With several divisions (as UCF101 has three), the lowest gives the split, and the columns
    `split_1`, `split_2` ... have each.

    Args:
        found: Videos without splits; those of folders such as train and test give way.
        files: Paths, as `read_split_file` reads them, or folders of such files.

    Raises:
        UsageError: If a file cannot be read, two contradict each other, a name fits several videos,
            or no listed video is there.
    """
    if found.split_folders:
        found = replace(found, sources=[replace(one, split=None) for one in found.sources])
    if marked := next((source for source in found.sources if source.split is not None), None):
        raise UsageError(
            f"splits: {marked.uri} is marked {marked.split!r} already; leave out the files or the "
            "column split"
        )
    read = [read_split_file(path) for named in files for path in _inside(named)]
    divisions = _divisions(read)
    marks, missing = _match(found.sources, divisions)
    named = ", ".join(str(path) for path in files)
    if not marks:
        raise UsageError(
            f"splits {named}: none of the listed clips is among the {len(found.sources)} videos, "
            f"such as {shown(next(iter(missing), 'none'))}"
        )
    sources = [_with_marks(source, marks.get(source.uri), divisions) for source in found.sources]
    unlisted = [source.uri for source in found.sources if source.uri not in marks]
    return replace(
        found,
        sources=sources,
        notes=[*found.notes, *_notes(found.sources, sources, named, missing, unlisted)],
        left_out={
            **found.left_out,
            "listed_without_a_video": len(missing),
            "video_in_no_split_file": len(unlisted),
        },
    )


def _inside(named: str) -> list[str]:
    """Return the lists in a folder, or the file itself."""
    folder = open_storage(named)
    if folder.kind() != "folder":
        return [named]
    names = [name for name in folder.names("") if suffix_of(name) in (".txt", ".csv", ".json")]
    if not names:
        raise UsageError(f"splits {folder.address}: holds no .txt, .csv or .json file")
    return [folder.address_of(name) for name in sorted(names)]


def _divisions(files: Sequence[SplitFile]) -> Divisions:
    """Put the clips of each division together, once each."""
    divisions: dict[int | None, dict[tuple[str, str], tuple[str, ListedClip]]] = defaultdict(dict)
    labels: dict[tuple[str, str], tuple[str, str]] = {}
    for file in files:
        for clip in file.clips:
            key, name = (clip.folder or "", clip.names[0]), clip.names[0]
            other, listed = divisions[file.number].setdefault(key, (file.address, clip))
            if listed.label is None:  # a list without classes gives way to its answers
                divisions[file.number][key] = (file.address, clip)
            other_class = None not in (listed.label, clip.label) and listed.label != clip.label
            if listed.split != clip.split or other_class:
                raise UsageError(
                    f"splits {file.address}: has {name} as {_told(clip)}, and {other} as "
                    f"{_told(listed)}; leave one out"
                )
            if clip.label is None:
                continue
            other, label = labels.setdefault(key, (file.address, clip.label))
            if label != clip.label:
                raise UsageError(
                    f"splits {file.address}: {name} is of class {clip.label!r}, and of class "
                    f"{label!r} in {other}; leave one out"
                )
    _check_classes(files, {label: where for where, label in labels.values()})
    if not divisions:
        raise UsageError(
            "splits: the files list no clip; give those of the training and test clips"
        )
    return divisions


def _check_classes(files: Sequence[SplitFile], used: Mapping[str, str]) -> None:
    """Refuse classes that a list of classes does not have."""
    for file in files:
        known = set(file.classes.values())
        unknown = sorted(set(used) - known) if known else []
        if unknown:
            raise UsageError(
                f"splits {used[unknown[0]]}: class {unknown[0]!r} is none of {file.address}, as "
                f"{len(unknown)} classes; give the lists of one data set"
            )


def _told(clip: ListedClip) -> str:
    return f"{clip.split or 'unused'} of class {clip.label!r}" if clip.label else str(clip.split)


def _match(
    sources: Sequence[Source], divisions: Divisions
) -> tuple[dict[str, _Marked], dict[str, None]]:
    """Return the marks of each video that is listed, and the names of listed clips without one.

    All segments of a listed file have its marks.
    """
    segments: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        segments[split_uri(source.uri)[0]].append(source.uri)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for file in segments:
        by_stem[PurePosixPath(file).stem].append(file)
    marks: dict[str, _Marked] = defaultdict(_Marked)
    missing: dict[str, None] = {}
    folders = {folder for clips in divisions.values() for folder, _ in clips}
    for number, clips in divisions.items():
        for (folder, name), (address, clip) in clips.items():
            video = _video_of(clip, by_stem, folders, address)
            if video is None:
                missing[f"{folder}/{name}" if folder else name] = None
                continue
            mark = marks[video]
            other_class = None not in (mark.label, clip.label) and mark.label != clip.label
            if mark.splits.setdefault(number, clip.split) != clip.split or other_class:
                raise UsageError(
                    f"splits {address}: clips with different marks fit {video}, such as "
                    f"{name}; name the videos as the data set does"
                )
            mark.label = clip.label or mark.label
    return {uri: mark for file, mark in marks.items() for uri in segments[file]}, missing


def _video_of(
    clip: ListedClip, by_stem: Mapping[str, list[str]], folders: Set[str], address: str
) -> str | None:
    """Return the file of a listed clip: in the folder of that name, or alone with its name."""
    for name in clip.names:
        fitting = by_stem.get(name, [])
        if clip.folder is not None:
            inside = [file for file in fitting if _parent(file) == clip.folder]
            fitting = inside or [file for file in fitting if _parent(file) not in folders]
        elif len(fitting) > 1:
            hinted = (clip.label, clip.split)
            fitting = [file for file in fitting if _parent(file) in hinted] or fitting
        if len(fitting) > 1:
            raise UsageError(
                f"splits {address}: {name} fits {fitting[0]} and {fitting[1]}; keep one"
            )
        if fitting:
            return fitting[0]
    return None


def _parent(file: str) -> str:
    return PurePosixPath(file).parent.name


def _with_marks(source: Source, marked: _Marked | None, divisions: Divisions) -> Source:
    if marked is None:
        return source
    numbers = sorted(divisions, key=lambda number: number or 0)
    several = {}
    if len(numbers) > 1:
        several = {
            "split" if n is None else f"split_{n}": marked.splits.get(n) or "" for n in numbers
        }
    return replace(
        source,
        split=marked.splits.get(numbers[0]),
        label=marked.label or source.label,
        extra={**source.extra, **{name: one for name, one in several.items() if name != "split"}},
    )


def _notes(
    before: Sequence[Source],
    after: Sequence[Source],
    named: str,
    missing: Mapping[str, None],
    unlisted: Sequence[str],
) -> Iterator[str]:
    if missing:
        listed = some_names(list(missing))
        yield f"splits {named}: listed clips without a video: {len(missing)} ({listed})"
    if unlisted:
        yield (
            f"splits {named}: videos that no file lists, and that have no split: {len(unlisted)} "
            f"({some_names(unlisted)})"
        )
    pairs = zip(before, after, strict=True)
    if other := [(old, new) for old, new in pairs if old.label not in (None, new.label)]:
        old, new = other[0]
        yield (
            f"splits {named}: videos whose label is that of the files, not of their folder: "
            f"{len(other)}, such as {shown(new.label or '')} for {old.uri}"
        )
    unused = sum(new.split is None for new in after) - len(unlisted)
    if unused:
        yield f"splits {named}: listed videos that this division does not use: {unused}"
