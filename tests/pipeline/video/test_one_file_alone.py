"""A clip is the bytes of one file: no other file is opened, and bytes that change are refused."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import imageio_ffmpeg
import pytest

from kinestore import extractors
from kinestore.pipeline.extraction.decode_and_embed import embed_clips
from kinestore.pipeline.extraction.ipc import ClipOutcome, ClipRequest, ClipResult
from kinestore.pipeline.extraction.process_shard import extract_shard
from kinestore.pipeline.extraction.tasks import ClipTask, Shard
from kinestore.pipeline.previews.thumbnails import _thumbnail
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.errors import VideoError
from kinestore.pipeline.video.identity import identify, unchanged
from kinestore.pipeline.video.reader import VideoReader
from kinestore.store import Source, Store
from tests.helpers.numbered import make_video
from tests.helpers.paths import ROOT

PLAYLISTS = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n",
    "hls-by-another-name.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{video}\n",
    "network.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}/v.ts\n",
    "concat.ffconcat": "ffconcat version 1.0\nfile '{video}'\n",
    "concat.mp4": "ffconcat version 1.0\nfile '{video}'\n",
    "concat.txt": "file '{video}'\n",
    "dash.mpd": '<?xml version="1.0"?>\n<MPD><Period><BaseURL>{video}</BaseURL></Period></MPD>\n',
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\n",
    "windows.asx": '<asx version="3.0"><entry><ref href="{video}"/></entry></asx>\n',
}


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return make_video(tmp_path / "v.mp4", 12, gop_size=4)


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_refused_and_nobody_is_asked(name: str, video: Path, tmp_path: Path) -> None:
    asked = list[object]()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]

        def answer() -> None:
            with contextlib.suppress(TimeoutError):
                asked.append(server.accept())

        waiting = threading.Thread(target=answer)
        waiting.start()
        path = tmp_path / name
        told = PLAYLISTS[name].format(video=video, address=f"http://127.0.0.1:{port}", port=port)
        path.write_text(told)
        with pytest.raises(VideoError, match="is a playlist, which names other files") as caught:
            DecodedVideo(path)
        waiting.join()
    assert caught.value.kind == "names-other-files" and not asked


def test_numbered_pictures_are_not_read_by_a_pattern(video: Path, tmp_path: Path) -> None:
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(video)]
    subprocess.run([*ffmpeg, str(tmp_path / "p%03d.png")], check=True)
    path = tmp_path / "p%03d.png"
    shutil.copy(tmp_path / "p001.png", path)
    with pytest.raises(VideoError) as caught:
        DecodedVideo(path)
    assert caught.value.kind == "not-a-video"


@pytest.mark.parametrize("kind", [b"alis", b"url "])
def test_a_quicktime_reference_never_shows_the_film_that_it_names(
    kind: bytes, video: Path, tmp_path: Path
) -> None:
    data = bytearray(video.read_bytes())
    entry = data.index(b"url ", data.index(b"dref"))
    data[entry : entry + 8] = kind + bytes(4)  # the data is in another file
    media, header = data.index(b"mdat"), data.index(b"moov")
    if media < header:
        data[media + 4 : header - 4] = bytes(header - media - 8)
    path = tmp_path / "reference.mov"
    path.write_bytes(data)
    with pytest.raises(VideoError) as caught:
        DecodedVideo(path)
    assert caught.value.kind in ("no-frames", "not-a-video")


def append(path: Path) -> None:
    with path.open("ab") as handle:
        handle.write(b"more")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def rewrite(path: Path) -> None:
    """Change one byte, and set back the time at which the file was changed."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def replace(path: Path) -> None:
    other = make_video(path.with_name("other.mp4"), 20)
    other.rename(path)


def touch(path: Path) -> None:
    """Write the same bytes: nobody can tell what was there meanwhile."""
    os.utime(path, ns=(0, 0))


CHANGES = [append, cut, rewrite, replace]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_since_it_was_hashed_is_refused(
    change: Callable[[Path], None], video: Path
) -> None:
    clip_id = identify(str(video))
    change(video)
    (answer,) = embed([ClipRequest(str(video), ("motion",), clip_id)])
    assert isinstance(answer, VideoError)
    assert answer.kind == "changing" and f"{video}: changed after it was hashed" in str(answer)
    assert _thumbnail(clip_id, str(video), 0) == (clip_id, None)


@pytest.mark.parametrize("change", [*CHANGES, touch])
def test_a_file_that_changes_while_it_is_decoded_is_refused(
    change: Callable[[Path], None], video: Path
) -> None:
    with (
        pytest.raises(VideoError, match="changed after it was hashed"),
        unchanged(video, identify(str(video))),
        VideoReader(video) as reader,
    ):
        for index, _, _ in reader:
            if index == 3:
                change(video)


def test_a_failure_of_other_bytes_is_not_told_of_these(video: Path) -> None:
    clip_id = identify(str(video))
    video.write_bytes(b"no video any more")
    (answer,) = embed([ClipRequest(str(video), ("motion",), clip_id)])
    assert isinstance(answer, VideoError) and answer.kind == "changing"


def embed(requests: Sequence[ClipRequest]) -> list[ClipOutcome]:
    motion = {"motion": extractors.create("motion")}
    return [outcome for _, outcome in embed_clips(requests, producers=motion)]


def test_another_file_with_the_same_bytes_is_read_instead(video: Path, tmp_path: Path) -> None:
    clip_id, same = identify(str(video)), tmp_path / "same.mp4"
    shutil.copy(video, same)
    append(video)
    sources = (Source(uri=str(video)), Source(uri=str(same)))
    task = ClipTask(clip_id=clip_id, sources=sources, outputs=("motion",), known=False)
    store = Store.create(tmp_path / "store")
    spec = extractors.create("motion").spec
    done = extract_shard(store, Shard(number=0, clips=(task,)), {"motion": spec}, embed)
    assert [(failure.uri, failure.kind) for failure in done.failures] == [(str(video), "changing")]
    assert store.clips_with(spec) == {clip_id}


def test_a_film_that_ends_its_download_is_not_stored_under_its_half(tmp_path: Path) -> None:
    whole = make_video(
        tmp_path / "v.mp4",
        40,
        gop_size=5,
        container_options={"movflags": "frag_keyframe+empty_moov"},
    )
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    half = identify(str(whole))
    (answer,) = embed([ClipRequest(str(whole), ("motion",), half)])
    assert isinstance(answer, ClipResult) and answer.info.num_frames < 40
    whole.write_bytes(data)
    (answer,) = embed([ClipRequest(str(whole), ("motion",), half)])
    assert isinstance(answer, VideoError) and answer.kind == "changing"


BOMB = """
import resource, sys
from kinestore.pipeline.video.decoded_video import DecodedVideo
from kinestore.pipeline.video.errors import VideoError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(DecodedVideo(sys.argv[1]).num_frames)
except VideoError as error:
    print(error.kind)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def many_streams(path: Path) -> None:
    """An AVI with 3000 video streams; FFmpeg's limit is 1000."""
    make_video(path, 5, codec="mpeg4")
    data = path.read_bytes()
    begin = data.index(b"strl") - 8
    length = 8 + int.from_bytes(data[begin + 4 : begin + 8], "little")
    streams = data[begin : begin + length] * 3000
    header = data.index(b"hdrl") - 4
    size = int.from_bytes(data[header : header + 4], "little") + len(streams) - length
    sized = data[:header] + size.to_bytes(4, "little") + data[header + 4 : begin]
    path.write_bytes(sized + streams + data[begin + length :])


def huge_extradata(path: Path) -> None:
    """A Matroska whose codec claims 250 MB of private data."""
    make_video(path, 5, codec="libx264")
    data = bytearray(path.read_bytes())
    place = data.index(b"\x63\xa2")
    data[place + 2 : place + 6] = (0x10000000 | 250_000_000).to_bytes(4, "big")
    path.write_bytes(data)


def huge_pictures(path: Path) -> None:
    """An MP4 whose header and whose H.264 both are of small pictures, but the header says 30000."""
    make_video(path, 5)
    data = bytearray(path.read_bytes())
    place = data.index(b"avc1") + 28
    data[place : place + 4] = (30_000).to_bytes(2, "big") * 2
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("make", "name"),
    [(many_streams, "v.avi"), (huge_extradata, "v.mkv"), (huge_pictures, "v.mp4")],
)
def test_a_claim_out_of_this_world_takes_little_memory(
    make: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    make(tmp_path / name)
    command = [sys.executable, "-c", BOMB, str(tmp_path / name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    told, mib = done.stdout.split()
    assert told in ("not-a-video", "no-video-stream", "no-frames", "too-large", "5"), done.stderr
    assert int(mib) < 200
