"""Runs on text that is chosen among prompts are used on videos, with the prompts of the run."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

import kinestore as ks
from kinestore.pipeline.extraction.config import ExtractionConfig
from kinestore.pipeline.extraction.outputs import embedding_outputs, read_prompts
from kinestore.pipeline.models.extract_for_run import _choose_extractors, _prompts
from tests.helpers.networks import randomise, write_clip_vocabulary


def test_prompts_of_a_run_s_classes_make_the_view_of_its_store(tmp_path: Path) -> None:
    with torch.device("meta"):
        network = CLIPModel(CLIPConfig())
    torch.save(dict(randomise(network).state_dict()), tmp_path / "pytorch_model.bin")
    write_clip_vocabulary(tmp_path)
    weights = {"clip-text": tmp_path}
    labels = ["sit_down", "Run", "sit_down", None]
    sources = [ks.Source(uri=f"/{n}.mp4", label=label) for n, label in enumerate(labels)]
    prompts = read_prompts(None, sources)
    made = embedding_outputs(["clip-text"], weights=weights, device="cpu", prompts=prompts)
    view = made["clip-text"].spec.name
    config = ExtractionConfig(weights=weights, device="cpu")
    of_run = _prompts(["Run", "sit_down"], config)
    assert _choose_extractors([view], [], config, of_run) == ["clip-text"]
    (tmp_path / "prompts.txt").write_text("running\nsitting\n")
    other = _prompts(["Run"], ExtractionConfig(prompts=tmp_path / "prompts.txt"))
    assert other == ("running", "sitting")
    with pytest.raises(ks.UsageError, match=r"give -e clip-text:SETTING=VALUE,.*and --prompts as"):
        _choose_extractors([view], [], config, other)
