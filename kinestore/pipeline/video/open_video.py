"""Opening of one video file, which never reaches another file or the network.

A playlist, a manifest or a script names other files. What they hold is no part of the identity of
the file that was hashed, and the user did not name them: FFmpeg gets a list of formats and one
protocol.
"""

import contextlib
import stat
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from kinestore.pipeline.video.errors import VideoError, unreadable

MAX_PIXELS = 8192 * 8192
"""Larger pictures are rejected before a decoder allocates memory for them."""

PROBE_BYTES = 5_000_000
"""Bytes in which a video stream must have a packet to be preferred, as in the ffmpeg command."""

_FORMATS = """
3dostr 4xm amv apng asf asf_o av1 avi avr avs avs2 avs3 bethsoftvid bfi bink c93 cavsvideo cdxl cine
cdg dhav dirac dnxhd dsicin dv dxa ea evc film_cpk filmstrip flic flv gdv gif gxf h261 h263 h264
hevc hnm idcin ifv ipmovie ipu iv8 ivf jpegxl_anim jv live_flv lmlm4 lvf lxf m4v matroska mjpeg
mjpeg_2000 mlv mm moflex mov mpeg mpegts mpegvideo mpjpeg mtv mv mvi mxf mxg nc nsv nut nuv obu ogg
paf pmp pva r3d rl2 rm roq rpl simbiosis_imx siff smjpeg smk smush swf thp tmv ty usm vc1 vc1test
vividas vivo vmd vvc wc3movie wtv wv xmv yop yuv4mpegpipe
aac ac3 aiff amr ape au caf dts eac3 flac loas mp3 tta w64 wav
bmp_pipe gif_pipe jpeg_pipe jpegxl_pipe png_pipe tiff_pipe webp_pipe
"""
"""FFmpeg's names of formats that lie in one file: of video, of sound alone, of a still picture."""

_OPTIONS = {
    "format_whitelist": ",".join(_FORMATS.split()),
    "max_pixels": str(MAX_PIXELS),
    "protocol_whitelist": "file",
}

_PLAYLISTS = (b"#extm3u", b"ffconcat", b"[playlist]", b"[reference]", b"rtsptext", b"v=0", b"file ")
_XML_PLAYLISTS = (b"<mpd", b"<asx", b"<smil", b"<smoothstreamingmedia", b"<playlist")
_HEAD_BYTES = 4096

_COVER = Disposition.attached_pic | Disposition.timed_thumbnails


def check_regular_file(path: str | Path) -> None:
    """Reject what is not a regular file: opening a named pipe would wait forever.

    Raises:
        VideoError: Of kind "missing-file", "not-a-file" or "unreadable-file".
    """
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(mode):
        raise VideoError("not-a-file", f"{path}: is not a regular file")


def open_video(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a file, and choose its video stream as the `ffmpeg` command does.

    Raises:
        VideoError: If it is not a video that can be opened.
    """
    check_regular_file(path)
    with contextlib.ExitStack() as undo:
        container = _open(path)
        undo.callback(container.close)
        stream = _choose(container, path)
        undo.pop_all()  # it is a video: the caller closes it
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    stream.codec_context.thread_count = 1  # clips run side by side: one thread each
    return container, stream


def _open(path: Path) -> InputContainer:
    try:
        # Titles in a wrong encoding would raise UnicodeDecodeError, and they are not used.
        # An absolute path: FFmpeg takes the "a:" of a name such as "a:b.mp4" for a protocol.
        named = str(path.absolute())
        return av.open(named, metadata_errors="ignore", options=dict(_OPTIONS))
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (av.FFmpegError, OSError) as error:
        if _names_other_files(path):
            raise VideoError(
                "names-other-files",
                f"{path}: is a playlist, which names other files; give the videos themselves",
            ) from error
        raise VideoError(
            "not-a-video", f"{path}: is not a video that FFmpeg knows ({error.strerror})"
        ) from error


def _names_other_files(path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            head = handle.read(_HEAD_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    except OSError:
        return False
    return head.startswith(_PLAYLISTS) or any(tag in head for tag in _XML_PLAYLISTS)


def _choose(container: InputContainer, path: Path) -> VideoStream:
    if container.format.name.endswith("_pipe"):
        raise VideoError("not-a-video", f"{path}: is a still picture ({container.format.name})")
    streams = list(container.streams.video)
    if not streams:
        raise VideoError("no-video-stream", f"{path}: has no video stream")
    films = [stream for stream in streams if not stream.disposition & _COVER]
    if not films:
        raise VideoError("no-video-stream", f"{path}: has a cover picture, and no video stream")
    known = [stream for stream in films if stream.codec_context is not None]
    if not known:
        raise VideoError("no-decoder", f"{path}: its video stream is of no codec that FFmpeg knows")
    stream = known[0] if len(known) == 1 else _best(known, path)
    if stream.width * stream.height > MAX_PIXELS:
        size = f"{stream.width}x{stream.height}"
        raise VideoError("too-large", f"{path}: claims pictures of {size}, over {MAX_PIXELS} px")
    return stream


def _best(streams: list[VideoStream], path: Path) -> VideoStream:
    """Return the best stream by the rule of the `ffmpeg` command (`map_auto_video`).

    A stream with packets near the start comes before one without; the mark "default" counts as much
    as 5,000,000 pixels; otherwise the most pixels win, and of equal streams the first.
    """
    with_packets = _with_packets(path, {stream.index for stream in streams})

    def score(stream: VideoStream) -> int:
        default = bool(stream.disposition & Disposition.default)
        pixels = stream.width * stream.height
        return pixels + 100_000_000 * (stream.index in with_packets) + 5_000_000 * default

    return max(streams, key=score)


def _with_packets(path: Path, wanted: set[int]) -> set[int]:
    """Return the streams that have a packet near the start of the file."""
    found, left = set[int](), PROBE_BYTES
    with _open(path) as container:
        try:
            for packet in container.demux():
                left -= packet.size
                if packet.size:
                    found.add(packet.stream_index)
                if left < 0 or found >= wanted:
                    break
        except (av.FFmpegError, OSError, IndexError):
            pass  # the pass that decodes answers it
    return found
