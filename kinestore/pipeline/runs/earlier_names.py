"""Entries of config.json and summary.json that earlier versions wrote under other names."""

_CURRENT = {
    "looks": "test_views",
    "swaps": "flip_pairs",
    "sample": "clients_per_round",
    "refused": "num_rejected_updates",
    "refusals": "rejected_updates",
    "num_unlabelled": "num_unlabeled",
}
_CURRENT_SETTINGS = {"recompute": "activation_checkpointing"}

_ADDED_SETTINGS: dict[str, object] = {
    "nesterov": False,
    "classifier_lr": 1.0,
    "freeze": None,
    "label_smoothing": 0.0,
    "standardize": "train",
    "weights": None,
    "recipe": None,
}
"""What earlier versions did, under the settings that they did not have."""


def with_current_names(values: dict[str, object]) -> dict[str, object]:
    """Return the entries of a run's file under the names of this version."""
    renamed = _renamed(values, _CURRENT)
    if isinstance(settings := renamed.get("settings"), dict):
        current = _ADDED_SETTINGS | _renamed(settings, _CURRENT_SETTINGS)
        if "weights" in renamed:  # of networks, beside the settings
            current["weights"] = renamed.pop("weights")
        renamed["settings"] = current
    return renamed


def _renamed(values: dict[str, object], current: dict[str, str]) -> dict[str, object]:
    return {current.get(name, name): value for name, value in values.items()}
