"""Clips of frames for networks that train end to end: uint8, uncompressed, mapped without a copy.

Shape legend: N clips, T frames, H and W pixels down and across, C colors.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from kinestore.store.errors import StoreError, UsageError, advise
from kinestore.store.io.mapped_array import create_array, locate_array, map_values
from kinestore.store.io.storage import Storage
from kinestore.store.part_folder import PartFolder
from kinestore.store.parts import HDF5, flush_and_hash, next_number, part_name
from kinestore.store.records import FramesSpec
from kinestore.store.schema import read_spec, refuse_repeated

_ARRAY = "frames"


@dataclass(frozen=True)
class StoredFrames:
    """The clips of frames stored under one specification, ordered by clip_id.

    It holds no open file, and can be pickled: workers of a DataLoader map the same pages.

    Attributes:
        spec: Everything that they depend on besides the clips.
        clip_ids: Each clip once, length N.
    """

    spec: FramesSpec
    clip_ids: list[str]
    _offsets: dict[str, tuple[Path, int]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __getitem__(self, clip: SupportsIndex | str) -> NDArray[np.uint8]:
        """Map one clip's frames: the file is read when the array is.

        Args:
            clip: A row of `clip_ids`, or a clip_id.

        Returns:
            uint8, shape (T, H, W, C). Writing to it changes this one array alone. Each array
            keeps a file open: to hold many hundreds at once, copy them.

        Raises:
            IndexError: If there is no such row.
            UsageError: If there is no such clip.
            StoreError: If the file is gone or truncated.
        """
        clip_id = clip if isinstance(clip, str) else self.clip_ids[operator.index(clip)]
        if clip_id not in self._offsets:
            raise UsageError(f"clip {clip_id!r}: has no frames in {self.spec.name}")
        path, offset = self._offsets[clip_id]
        try:
            return map_values(path, np.uint8, offset=offset, shape=self.spec.shape)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read ({error})") from error

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[row] for row in range(len(self)))


def open_frames(folder: PartFolder) -> StoredFrames:
    """Find each clip's position; of a clip in two parts, the newest part's."""
    root = require_local(folder.storage)
    spec = read_spec(folder.storage, folder.name, FramesSpec)
    size = int(np.prod(spec.shape))
    offsets = {}
    for name in folder.parts():
        part = _read_part_of(folder, name, spec)
        for row, clip_id in enumerate(part.clip_ids):
            offsets[clip_id] = root / name, part.offset + row * size
    return StoredFrames(spec, sorted(offsets), offsets)


@dataclass(frozen=True, kw_only=True)
class FramesPart:
    """Content of one file of frames.

    Attributes:
        offset: Bytes before the first clip.
        clip_ids: In the file's order.
    """

    offset: int
    clip_ids: list[str]


def read_frames_part(path: Path, spec: FramesSpec) -> FramesPart:
    """Read a part's clips and where they begin; the frames themselves are not read.

    Raises:
        StoreError: If it is not such a part, in one sentence without a remedy.
    """
    found = locate_array(path, _ARRAY)
    if found.dtype != np.uint8 or found.shape[1:] != spec.shape:
        raise StoreError(
            f"{path}: holds {found.dtype} of shape {found.shape[1:]}, not uint8 of {spec.shape}"
        )
    repeated = len(found.clip_ids) - len(set(found.clip_ids))
    if repeated:
        raise StoreError(f"{path}: has {repeated} rows of a clip that it has already")
    return FramesPart(offset=found.offset, clip_ids=found.clip_ids)


def _read_part_of(folder: PartFolder, name: str, spec: FramesSpec) -> FramesPart:
    try:
        return read_frames_part(require_local(folder.storage) / name, spec)
    except StoreError as error:
        remedy = (
            f"`kinestore verify {folder.storage.address} --repair` will delete it, and its clips "
            "may be added again"
        )
        raise StoreError(advise(error, remedy)) from error


class FramesIndex:
    """Clips that the frames of one specification have already, so that none is added twice."""

    def __init__(self, folder: PartFolder, spec: FramesSpec) -> None:
        require_local(folder.storage)
        self._folder = folder
        self._spec = spec
        self._clips: dict[str, list[str]] = {}  # by part: parts never change

    def look_up(self) -> set[str]:
        """Return the clips that are there now."""
        there = set(self._folder.parts())
        for name in self._clips.keys() - there:  # a repair has dropped it
            del self._clips[name]
        for name in there - self._clips.keys():
            self._clips[name] = _read_part_of(self._folder, name, self._spec).clip_ids
        return {clip for clips in self._clips.values() for clip in clips}

    def commit(
        self, frames: Mapping[str, NDArray[np.uint8]], *, number: int | None, marker: str
    ) -> int:
        """Commit checked frames, by clip, as one part, and return how many clips are new.

        Args:
            frames: Result of `check_frames`.
            number: The part's; None puts it last.
            marker: The file to lock.
        """
        storage, folder = self._folder.storage, self._folder.name
        there = self.look_up()
        while new := {clip: values for clip, values in frames.items() if clip not in there}:
            with storage.temporary(folder) as unfinished:
                clips, shape = list(new), self._spec.shape
                fill = partial(_copy, clips=list(new.values()))
                create_array(unfinished, _ARRAY, clips, shape, np.uint8, fill=fill)
                hashed = flush_and_hash(unfinished)  # before other writers are kept out
                with storage.locked(marker):  # two jobs may have decoded the same clip
                    there = self.look_up()
                    if there.isdisjoint(new):
                        place = next_number(storage, folder, HDF5) if number is None else number
                        name = part_name(storage, folder, place, hashed, HDF5)
                        storage.publish(unfinished, name)
                        self._clips[name] = clips
                        return len(new)
        return 0


def _copy(array: NDArray[np.uint8], *, clips: Sequence[NDArray[np.uint8]]) -> None:
    for row, values in enumerate(clips):
        array[row] = values


def require_local(storage: Storage) -> Path:
    """Return the path of a store on this machine; raise UsageError for one in an object store."""
    if storage.local_root is None:
        raise UsageError(
            f"{storage.address}: frames are mapped, so they need a store on a local file system"
        )
    return storage.local_root


def check_frames(
    spec: FramesSpec,
    clip_ids: Sequence[str],
    frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
) -> Mapping[str, NDArray[np.uint8]]:
    """Return frames by clip; raise UsageError if they do not fit, or a clip comes twice."""
    expected = (len(clip_ids), *spec.shape)
    if isinstance(frames, np.ndarray):
        given = [(frames.dtype.name, frames.shape)]
    else:
        given = [(clip.dtype.name, (len(frames), *clip.shape)) for clip in frames]
    for dtype, shape in given or [("uint8", (0, *spec.shape))]:
        if (dtype, shape) != ("uint8", expected):
            raise UsageError(f"frames: {dtype} of shape {shape}, not uint8 of {expected}")
    refuse_repeated("frames", clip_ids)
    if bad := [clip for clip in clip_ids if not clip or "\0" in clip]:
        raise UsageError(f"frames: clip {bad[0]!r} is empty or holds a zero byte")
    return dict(zip(clip_ids, frames, strict=True))
