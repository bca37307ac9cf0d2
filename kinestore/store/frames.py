"""Clips of frames for networks that train end to end: uint8, uncompressed, mapped and not copied.

Shape legend: N clips, T frames, H and W pixels down and across, C colours.
"""

import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from kinestore.store import parts
from kinestore.store.errors import StoreError, UsageError
from kinestore.store.io.atomic import flush, locked, publish, temporary, write_text_once
from kinestore.store.io.mapped_array import lay_out, locate
from kinestore.store.io.paths import is_remote
from kinestore.store.part_folder import PartFolder
from kinestore.store.records import FramesSpec
from kinestore.store.schema import read_spec, refuse_repeated

FOLDER = "frames"
MARKER = "frames.json"
ARRAY = "frames"

Known = dict[str, list[str]]
"""The clips of each part, by its name: parts never change."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where the clips of one file lie.

    Attributes:
        path: The file.
        offset: Bytes before the first clip.
        clip_ids: In the file's order.
    """

    path: Path
    offset: int
    clip_ids: list[str]


@dataclass(frozen=True)
class Frames:
    """The clips that were kept under one specification, ordered by clip_id.

    It holds no open file, and may be pickled: workers of a DataLoader map the same pages.

    Attributes:
        spec: What they depend on besides the clips.
        clip_ids: Each clip once, length N.
    """

    spec: FramesSpec
    clip_ids: list[str]
    _places: dict[str, tuple[Path, int]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __getitem__(self, clip: SupportsIndex | str) -> NDArray[np.uint8]:
        """One clip's frames as they lie in the file: nothing is read until it is looked at.

        Args:
            clip: A row of `clip_ids`, or a clip_id.

        Returns:
            uint8, shape (T, H, W, C). What is written to it stays in this one array. Each array
            keeps a file open: to hold many hundreds at once, copy them.

        Raises:
            IndexError: If there is no such row.
            UsageError: If there is no such clip.
            StoreError: If the file is gone, or was cut off.
        """
        clip_id = clip if isinstance(clip, str) else self.clip_ids[operator.index(clip)]
        if clip_id not in self._places:
            raise UsageError(f"clip {clip_id!r}: has no frames in {self.spec.name}")
        path, offset = self._places[clip_id]
        try:
            mapped = np.memmap(str(path), np.uint8, mode="c", offset=offset, shape=self.spec.shape)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read ({error})") from error
        return mapped.view(np.ndarray)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[row] for row in range(len(self)))


def open_frames(folder: PartFolder) -> Frames:
    """Look up where each clip lies; of a clip in two parts, in the newest.

    Raises:
        StoreError: If frames.json or a part cannot be used.
        UsageError: If they lie in an object store.
    """
    refuse_remote(folder.path)
    spec = read_spec(folder.path / MARKER, FramesSpec)
    size = int(np.prod(spec.shape))
    places = {}
    for path in folder.paths():
        part = _read_part_of(folder, path, spec)
        for row, clip_id in enumerate(part.clip_ids):
            places[clip_id] = path, part.offset + row * size
    return Frames(spec, sorted(places), places)


def _read_part_of(folder: PartFolder, path: Path, spec: FramesSpec) -> Part:
    try:
        return read_part(path, spec)
    except StoreError as error:
        raise StoreError(
            f"{error}; `kinestore verify {folder.store} --repair` will delete it, and its "
            "clips may be added again"
        ) from error


def read_part(path: Path, spec: FramesSpec) -> Part:
    """Where the clips of a part lie; the frames themselves are not read.

    Raises:
        StoreError: If it is not such a part, in one sentence without a remedy.
    """
    found = locate(path, ARRAY)
    if found.dtype != np.uint8 or found.shape[1:] != spec.shape:
        raise StoreError(
            f"{path}: holds {found.dtype} of shape {found.shape[1:]}, not uint8 of {spec.shape}"
        )
    repeated = len(found.clip_ids) - len(set(found.clip_ids))
    if repeated:
        raise StoreError(f"{path}: has {repeated} rows of a clip that it has already")
    return Part(path=path, offset=found.offset, clip_ids=found.clip_ids)


def append(
    folder: PartFolder,
    spec: FramesSpec,
    clip_ids: Sequence[str],
    frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    *,
    known: Known,
    number: int | None = None,
    made_with: Mapping[str, str] | None = None,
) -> int:
    """Commit frames as one part, but for clips that are there already.

    Args:
        folder: That of the specification.
        spec: Noted in frames.json.
        clip_ids: One a row, length N.
        frames: uint8, shape (N, T, H, W, C), or N arrays of shape (T, H, W, C).
        known: What earlier calls found in the folder; brought up to date.
        number: The part's place; None puts it last.
        made_with: Versions of the software, noted in frames.json when that is made.

    Returns:
        How many clips were added.

    Raises:
        UsageError: If the frames are others, or a clip comes twice.
    """
    refuse_remote(folder.path)
    _check(spec, clip_ids, frames)
    refuse_repeated("frames", clip_ids)
    if bad := [clip for clip in clip_ids if not clip or "\0" in clip]:
        raise UsageError(f"frames: clip {bad[0]!r} is empty or holds a zero byte")
    marker = folder.path / MARKER
    if not marker.exists():
        described: dict[str, Any] = {"fingerprint": spec.fingerprint, **spec.to_json()}
        described["made_with"] = dict(made_with or {})
        write_text_once(marker, json.dumps(described, indent=2, sort_keys=True) + "\n")
    there = look_up(folder, spec, known=known)
    while new := {c: clip for c, clip in zip(clip_ids, frames, strict=True) if c not in there}:
        with temporary(folder.path) as unfinished:
            named = _write(unfinished, spec, new)
            with locked(marker):  # two jobs may have cut the same clip
                there = look_up(folder, spec, known=known)
                if there.isdisjoint(new):
                    place = number
                    if place is None:
                        place = parts.next_number(folder.path, parts.HDF5)
                    final = folder.path / f"{place:05d}-{named}{parts.HDF5}"
                    publish(unfinished, final)
                    known[final.name] = list(new)
                    return len(new)
    return 0


def look_up(folder: PartFolder, spec: FramesSpec, *, known: Known) -> set[str]:
    """The clips that are there now; arguments as for `append`.

    Raises:
        StoreError: If a part cannot be used.
        UsageError: If they lie in an object store.
    """
    refuse_remote(folder.path)
    there = {path.name: path for path in folder.paths()}
    for name in known.keys() - there.keys():  # a repair has dropped it
        del known[name]
    for name in there.keys() - known.keys():
        known[name] = _read_part_of(folder, there[name], spec).clip_ids
    return {clip for clips in known.values() for clip in clips}


def refuse_remote(path: Path) -> None:
    """Frames are not kept in an object store.

    Raises:
        UsageError: If the path lies in one.
    """
    if is_remote(path):
        raise UsageError(f"{path}: frames are mapped, so they need a store on a local file system")


def _check(
    spec: FramesSpec,
    clip_ids: Sequence[str],
    frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
) -> None:
    whole = (len(clip_ids), *spec.shape)
    if isinstance(frames, np.ndarray):
        given = [(frames.dtype.name, frames.shape)]
    else:
        given = [(clip.dtype.name, (len(frames), *clip.shape)) for clip in frames]
    for dtype, shape in given or [("uint8", (0, *spec.shape))]:
        if (dtype, shape) != ("uint8", whole):
            raise UsageError(f"frames: {dtype} of shape {shape}, not uint8 of {whole}")


def _write(path: Path, spec: FramesSpec, clips: Mapping[str, NDArray[np.uint8]]) -> str:
    """Write a part in whole, before other writers are kept out; gives the hash in its name."""
    array = lay_out(path, ARRAY, list(clips), spec.shape, np.uint8)
    for row, frames in enumerate(clips.values()):
        array[row] = frames
    del array
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(flush, path)  # the disk writes while the processor hashes
        named = parts.digest(path)[:16]
        flushed.result()
    return named
