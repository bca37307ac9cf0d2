"""Extraction by plain scripts: the libraries' own networks in a loop, or behind a DataLoader.

Shape legend: B batch, T frames, C channels, H height, W width, L tokens, D features.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.extract import Work

CLASSES = 400
WORD_PIECES = 30522
BATCH = {"cpu": 4, "cuda": 16}


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A network of a library, run as in a plain script.

    Attributes:
        build: Builds it, with random weights.
        load: Reads a file of weights, ready for features.
        features: From normalized clips, float32, shape (B, C, T, H, W), to shape (B, ...).
        num_frames: T.
        pictures: Preprocessing of frames.
        is_3d: Whether its convolutions are.
    """

    build: Callable[[], Any]
    load: Callable[[Path], Any]
    features: Callable[[Any, Any], Any]
    num_frames: int
    pictures: Any
    is_3d: bool = False


def plain(name: str) -> Plain:
    """The network behind an extractor's name."""
    special = {"clip": _clip, "blip": _blip, "videomae": _videomae}
    if name in special:
        return special[name]()
    if name.startswith("cnn-"):
        return _cnn(name)
    network = importlib.import_module(f"kinestore.extractors.{name}").NETWORK
    return Plain(
        build=lambda: network.build(CLASSES),
        load=network.load,
        features=network.features,
        num_frames=network.num_frames,
        pictures=network.preprocessing,
        is_3d=True,
    )


def write_weights(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Random weights of the true architectures, one file or folder for each."""
    import torch

    torch.manual_seed(0)
    paths = {}
    for name in names:
        path = folder / f"{name}.pth"
        if name == "blip":
            path = folder / name / "pytorch_model.bin"
            path.parent.mkdir()
            pieces = [f"w{number}" for number in range(WORD_PIECES)]
            pieces[0], pieces[100:104] = "[PAD]", ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
            (path.parent / "vocab.txt").write_text("\n".join(pieces) + "\n")
        torch.save(plain(name).build().state_dict(), path)
        paths[name] = str(path.parent if name == "blip" else path)
    return paths


def _filled(build: Callable[[], Any], path: Path) -> Any:
    import torch

    network = build()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def _clip() -> Plain:
    from kinestore.extractors import clip

    def build() -> Any:
        return transformers.CLIPModel(transformers.CLIPConfig())

    def features(network: Any, pictures_BCTHW: Any) -> Any:
        return network.get_image_features(pictures_BCTHW[:, :, 0]).pooler_output

    import transformers

    return Plain(
        build=build,
        load=lambda path: _filled(build, path),
        features=features,
        num_frames=1,
        pictures=clip.CLIP_PREPROCESSING,
    )


def _videomae() -> Plain:
    import transformers

    from kinestore.extractors.videomae import NETWORK

    def build() -> Any:
        config = transformers.VideoMAEConfig(use_mean_pooling=True)
        config.num_labels = CLASSES
        return transformers.VideoMAEForVideoClassification(config)

    return Plain(
        build=build,
        load=lambda path: _filled(build, path),
        features=NETWORK.features,
        num_frames=NETWORK.num_frames,
        pictures=NETWORK.preprocessing,
    )


def _blip() -> Plain:
    import torch
    import transformers

    from kinestore.extractors import blip

    def build() -> Any:
        config = transformers.BlipConfig(
            text_config={"num_attention_heads": 12}, vision_config={"image_size": 384}
        )
        return transformers.BlipForConditionalGeneration(config)

    def load(path: Path) -> Any:
        network = _filled(build, path / "pytorch_model.bin")
        network.tokenizer = blip.read_vocabulary(path / "vocab.txt")
        return network

    def features(network: Any, pictures_BCTHW: Any) -> Any:
        patches = network.vision_model(pictures_BCTHW[:, :, 0]).last_hidden_state
        text = network.config.text_config
        written_BL = network.text_decoder.generate(
            input_ids=torch.full((len(patches), 1), text.bos_token_id, device=patches.device),
            encoder_hidden_states=patches,
            eos_token_id=text.sep_token_id,
            pad_token_id=text.pad_token_id,
            max_new_tokens=blip.MAX_CAPTION_TOKENS,
            do_sample=False,
            num_beams=1,
        )
        ids = [[i for i in row if i < text.bos_token_id] for row in written_BL[:, 1:].tolist()]
        captions = network.tokenizer.decode_batch(ids, skip_special_tokens=True)
        encoded = network.tokenizer.encode_batch(captions)
        return network.text_decoder.bert(
            input_ids=torch.tensor([one.ids for one in encoded], device=patches.device),
            attention_mask=torch.tensor(
                [one.attention_mask for one in encoded], device=patches.device
            ),
            encoder_hidden_states=patches,
            is_decoder=False,
        ).last_hidden_state[:, 0]

    return Plain(
        build=build,
        load=load,
        features=features,
        num_frames=1,
        pictures=blip.BLIP_PREPROCESSING,
    )


def _cnn(name: str) -> Plain:
    import timm
    import torch

    from kinestore.extractors import cnn

    def build() -> Any:
        return timm.create_model(cnn.TIMM_NAMES[name])

    def load(path: Path) -> Any:
        network = _filled(build, path)
        network.reset_classifier(0)
        return network

    def features(network: Any, pictures_BCTHW: Any) -> Any:
        frames = pictures_BCTHW.transpose(1, 2).flatten(0, 1)
        return network(frames.contiguous(memory_format=torch.channels_last))

    return Plain(
        build=build,
        load=load,
        features=features,
        num_frames=cnn.DEFAULT_NUM_FRAMES,
        pictures=cnn.preprocessing_of(name, build()),
    )


class Shrunk:
    """Map-style data set of clips, decoded by PyAV and resized for the network."""

    def __init__(self, clips: Sequence[str], network: Plain) -> None:
        self._clips = clips
        self._network = network

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, at: int) -> Any:
        import av
        import numpy as np

        with av.open(self._clips[at]) as container:
            frames = list(container.decode(video=0))
        chosen = np.linspace(0, len(frames) - 1, self._network.num_frames).round().astype(int)
        rgb = np.stack([frames[index].to_ndarray(format="rgb24") for index in chosen])
        return self._network.pictures.resize_and_crop(rgb)


def run_dataloader(work: "Work") -> None:
    """A well-tuned script for one network."""
    import torch
    from torch.utils.data import DataLoader

    ((name, path),) = work.weights.items()
    network = plain(name)
    model = network.load(Path(path)).to(work.device)
    if network.is_3d:
        model = model.to(memory_format=torch.channels_last_3d)
    on_gpu = work.device == "cuda"
    torch.set_num_threads(work.workers)
    loader: DataLoader[Any] = DataLoader(
        Shrunk(work.clips, network),  # type: ignore[arg-type]  # map-style, without the base class
        batch_size=BATCH[work.device],
        num_workers=work.workers if on_gpu else 1,
        pin_memory=on_gpu,
    )
    for pixels in loader:
        forward(network, model, pixels, work.device)


def run_loop(work: "Work") -> None:
    """Clip by clip, network by network."""
    import torch

    networks = {name: plain(name) for name in work.weights}
    models = {
        name: networks[name].load(Path(path)).to(work.device) for name, path in work.weights.items()
    }
    for clip in work.clips:
        for name, network in networks.items():
            pixels = torch.from_numpy(Shrunk([clip], network)[0])[None]
            forward(network, models[name], pixels, work.device)


def forward(network: Plain, model: Any, pixels_BTCHW: Any, device: str) -> Any:
    """Features of a batch as NumPy has them; in bfloat16 on a GPU."""
    import torch

    pixels_BTCHW = pixels_BTCHW.to(device, non_blocking=True)
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
        clips_BCTHW = network.pictures.normalize(pixels_BTCHW).transpose(1, 2)
        return network.features(model, clips_BCTHW).float().cpu().numpy()
