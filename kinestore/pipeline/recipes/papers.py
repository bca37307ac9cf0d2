"""Training as papers print it, by name: the model, how it learns, and the clients and rounds.

What a paper leaves out is chosen here and named in `chosen`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kinestore.store import UsageError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A paper's training.

    Attributes:
        source: Title, year and section.
        head: The model, as `--head` takes it.
        learning: Fields of `TrainingConfig`, for every job.
        train: The same for `train` alone; None where the recipe is for `federate` alone.
        clients: The same for a client in `federate`; None where the recipe is for `train` alone.
        federation: Fields of `FederationConfig`.
        chosen: What the paper does not print.
    """

    source: str
    head: str
    learning: Mapping[str, object]
    train: Mapping[str, object] | None = None
    clients: Mapping[str, object] | None = None
    federation: Mapping[str, object] = field(default_factory=dict)
    chosen: str = ""

    def training_of(self, job: str) -> dict[str, object]:
        """Return the fields of `TrainingConfig` for a job, "train" or "federate".

        Raises:
            UsageError: If the paper does not train so.
        """
        own = self.train if job == "train" else self.clients
        if own is None:
            other = "federate" if job == "train" else "train"
            raise UsageError(
                f"recipe: {self.source} has none for `kinestore {job}`; use `kinestore {other}`"
            )
        return {**self.learning, **own}


_SGD: dict[str, object] = {"optimizer": "sgd", "momentum": 0.9, "clip_gradients": 20.0}
_TDN = (
    "differential:local_input=adjacent_diff,fusion_weights=0.5-0.5,strides=1-1-1,tm_place=block,"
    "tm_conv=depthwise,diff_conv=one,boundary=zero_diff,center_gate=true"
)
_PSO = (
    "Video Action Recognition Collaborative Learning with Dynamics via PSO-ConvNet Transformer, "
    "2023, transfer learning in the authors' notebooks"
)
_STC: dict[str, object] = {"learning_rate": 0.01, "weight_decay": 1e-4, "batch_size": 32}

RECIPES: Mapping[str, Recipe] = {
    "flamest": Recipe(
        source="FLAMeST, TMLR submission 5468, experimental protocol",
        head="mlp:hidden=512-256",
        learning={
            "optimizer": "adam",
            "learning_rate": 0.01,
            "weight_decay": 1e-4,
            "batch_size": 128,
            "schedule": "constant",
            "clip_gradients": None,
            "standardize": "none",
        },
        train={},
        clients={"epochs": 5},
        federation={"strategy": "fedavg", "num_clients": 4, "rounds": 80, "partition": "iid"},
    ),
    "differential": Recipe(
        source="Video Action Recognition Method Based on Personalized Federated Learning and "
        "Spatiotemporal Features, 2025, section 4",
        head="differential",
        learning={**_SGD, "learning_rate": 0.01, "weight_decay": 5e-4},
        train={"epochs": 60, "schedule": "steps:30-45-55", "batch_size": 64},
        clients={"epochs": 1, "schedule": "constant"},
        federation={
            "strategy": "personal:private=local",
            "num_clients": 20,
            "clients_per_round": 4,
            "rounds": 450,
            "partition": "dirichlet:1",
        },
        chosen="learning rate, weight decay, schedule and clipping are TDN's",
    ),
    "tdn": Recipe(
        source="TDN: Temporal Difference Networks, 2021, section 4.1, on Something-Something",
        head=_TDN,
        learning={**_SGD, "learning_rate": 0.01, "weight_decay": 5e-4, "batch_size": 64},
        train={"epochs": 60, "schedule": "steps:30-45-55"},
    ),
    "tdn-fine-tune": Recipe(
        source="TSM: Temporal Shift Module, 2019, fine-tuning on UCF101 in the released code",
        head=f"{_TDN},dropout=0.8",
        learning={**_SGD, "learning_rate": 1e-3, "weight_decay": 5e-4, "batch_size": 64},
        train={"epochs": 25, "schedule": "steps:10-20", "classifier_lr": 5.0},
        chosen="the network is TDN's",
    ),
    "stc": Recipe(
        source="FSTFL-Net, section 4, on Something-Something and Kinetics",
        head="correlation:dropout=0.5",
        learning={**_SGD, **_STC},
        train={"epochs": 60, "schedule": "cosine", "warmup": 10},
        chosen="clipping is that of GSF's code",
    ),
    "stc-fine-tune": Recipe(
        source="FSTFL-Net, section 4, from Kinetics to UCF101",
        head="correlation:dropout=0.8",
        learning={**_SGD, **_STC},
        train={"epochs": 40, "schedule": "cosine", "warmup": 10},
        chosen="clipping is that of GSF's code",
    ),
    "c3d": Recipe(
        source="Research on Privacy-Preserving Action Recognition Method Based on Adversarial "
        "Learning and Feature Enhancement, section 3.3",
        head="c3d",
        learning={
            **_SGD,
            "clip_gradients": None,
            "learning_rate": 5e-4,
            "weight_decay": 5e-4,
            "batch_size": 4,
        },
        train={"epochs": 80, "schedule": "steps:20-40-60"},
        chosen="the paper decays its rate without a rule: a tenth every 20 epochs, C3D's scaled",
    ),
    "pso-transformer": Recipe(
        source=_PSO,
        head="temporal_transformer:positions=learned,dense=none,dropout=0.5",
        learning={
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "batch_size": 32,
            "schedule": "constant",
            "clip_gradients": None,
            "standardize": "none",
        },
        train={"epochs": 100},
    ),
    "pso-rnn": Recipe(
        source=_PSO,
        head="temporal_rnn:cell=lstm,units=2048,input_dropout=0.5,form=transfer",
        learning={
            "optimizer": "sgd",
            "momentum": 0.0,
            "learning_rate": 0.01,
            "weight_decay": 0.0,
            "batch_size": 32,
            "schedule": "constant",
            "clip_gradients": None,
            "standardize": "none",
        },
        train={"epochs": 100},
    ),
}


def find_recipe(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        UsageError: If there is none of this name.
    """
    if name not in RECIPES:
        raise UsageError(f"recipe={name!r}: must be one of {', '.join(RECIPES)}")
    return RECIPES[name]
