"""Which GPUs there are."""

import os


def visible_gpus(device: str) -> list[str]:
    """The GPUs that "auto" or "cuda" may use, as CUDA_VISIBLE_DEVICES names them."""
    if device == "cpu":
        return []
    import torch  # takes seconds, and a third of a gigabyte

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(index) for index in range(count)]
