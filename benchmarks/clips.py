"""Clips to measure with: two noisy textures that move across each other, encoded by ffmpeg."""

import argparse
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".webm", ".mpg", ".ts", ".mov"})


def existing_path(text: str) -> Path:
    """For argparse: a path at which there is something."""
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text}: no such file or folder")
    return Path(text)


def find_videos(path: Path) -> list[Path]:
    """The file itself, or every video below the folder."""
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)


def write_clip(
    path: Path,
    encoder: list[str],
    *,
    size: tuple[int, int] = (320, 240),
    num_frames: int = 150,
    filters: str = "null",
) -> Path:
    """Encode a textured foreground that moves over a panned texture, with noise of a camera.

    Args:
        path: Written anew; its suffix chooses the container.
        encoder: ffmpeg's output options, the codec's name first among them.
        size: Width and height.
        num_frames: Pictures drawn, at 30 a second, before `filters` see them.
        filters: ffmpeg video filters that come last.
    """
    width, height = size
    back, front = path.with_suffix(".back.ppm"), path.with_suffix(".front.ppm")
    _write_texture(back, 2 * width, 2 * height, seed=0)
    _write_texture(front, width // 3, height // 2, seed=1)
    drawn = (
        f"[0]crop={width}:{height}:x='{width}*(0.5+0.4*sin(t/2))':y='{height}*(0.5+0.4*sin(t/3))'"
        f"[pan];[pan][1]overlay=x='{width}*(0.3+0.3*sin(2*t))':y='{height}*(0.2+0.2*cos(t))'"
        f",noise=alls=8:allf=t:all_seed=1,format=yuv420p,{filters}"
    )
    command = [FFMPEG, "-v", "error", "-y"]
    for picture in (back, front):
        command += [
            "-framerate",
            "30",
            "-loop",
            "1",
            "-t",
            str(num_frames / 30),
            "-i",
            str(picture),
        ]
    command += ["-filter_complex", drawn, *encoder, "-fps_mode", "passthrough", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    back.unlink()
    front.unlink()
    return path


def mpeg4_encoder() -> list[str]:
    """The true XviD where ffmpeg has it (with B-frames it packs them, as real AVIs do)."""
    shown = subprocess.run([FFMPEG, "-v", "error", "-encoders"], capture_output=True, text=True)
    name = "libxvid" if "libxvid" in shown.stdout else "mpeg4"
    return ["-c:v", name, "-vtag", "XVID"]


def _write_texture(path: Path, width: int, height: int, *, seed: int) -> None:
    """Noise at every scale from single pixels to the whole picture, as natural pictures have."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 128.0)
    for scale in (1, 2, 4, 8, 16, 32, 64):
        coarse = rng.normal(0, 3 * scale**0.6, (height // scale + 1, width // scale + 1, 3))
        picture += _enlarge(coarse, scale)[:height, :width]
    pixels = picture.clip(0, 255).astype(np.uint8)
    path.write_bytes(f"P6 {width} {height} 255\n".encode() + pixels.tobytes())


def _enlarge(picture: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)
