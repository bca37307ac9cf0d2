"""Which files of a folder are videos, by their names."""

from pathlib import PurePosixPath

_CONTAINERS = """
    .3g2 .3gp .3gp2 .3gpp .amv .asf .avi .bik .cine .divx .dv .dvr-ms .evo .f4v .flv .gxf .insv
    .ismv .k3g .m2p .m2t .m2ts .m4v .mj2 .mjp2 .mk3d .mkv .mod .mov .mp2v .mp4 .mp4v .mpe .mpeg
    .mpg .mpv .mpv2 .mqv .mts .mxf .nsv .nut .nuv .ogm .ogv .ogx .pva .qt .rm .rmvb .roq .smk
    .swf .tod .tp .trp .ts .viv .vivo .vob .vro .webm .wmv .wtv .xvid
"""
_STREAMS = """
    .264 .265 .266 .apng .av1 .avc .avs2 .cavs .drc .fli .flc .gif .h261 .h263 .h264 .h265 .h266
    .hevc .ivf .m1v .m2v .mjpeg .mjpg .obu .rcv .vc1 .vvc .y4m
"""

VIDEO_SUFFIXES = frozenset(_CONTAINERS.split() + _STREAMS.split())
"""Suffixes of videos, in lower case: those of FFmpeg's demuxers that hold moving pictures."""

_SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "found.000",
        "lost+found",
        "network trash folder",
        "recycled",
        "recycler",
        "system volume information",
        "temporary items",
        "thumbs.db",
    }
)
"""Folders and files, in lower case, that systems make for trash, previews and snapshots."""


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name in lower case, such as ".mp4", or ""."""
    return PurePosixPath(name).suffix.lower()


def is_video_name(name: str) -> bool:
    """Return whether a file is a video by its suffix."""
    return suffix_of(name) in VIDEO_SUFFIXES


def has_second_field(line: str) -> bool:
    """Return whether a line is the name of a video and a word, as official split lists have it."""
    name, _, word = line.strip().replace("\t", " ").rpartition(" ")
    return is_video_name(name.rstrip()) and not is_video_name(word)


def is_hidden_name(name: str) -> bool:
    """Return whether one part of a path, a file's or folder's name, is hidden or the system's."""
    low = name.lower()
    return low.startswith((".", "~$")) or low in _SYSTEM_NAMES or "@synoea" in low
