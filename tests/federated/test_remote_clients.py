"""Clients on other machines as the rounds see them, with real messages and no network."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from flwr.app import RecordDict
from torch import Tensor

from kinestore.federated.best_round import RoundChoice
from kinestore.federated.config import RoundsConfig
from kinestore.federated.flower_app.answers import Member
from kinestore.federated.flower_app.certificates import make_certificates, registered_keys
from kinestore.federated.flower_app.exchange import Absence, ClientExchange, Roster
from kinestore.federated.flower_app.messages import Description, Offer, Setup
from kinestore.federated.flower_app.records import InvalidMessage, read_arrays, write_content
from kinestore.federated.flower_app.remote_clients import RemoteClients
from kinestore.federated.round_loop import History, run_rounds
from kinestore.federated.rounds import RoundRunner
from kinestore.heads import create
from kinestore.pipeline.training.flower.comparison import ClientComparison
from kinestore.pipeline.training.flower.job import compared_versions
from kinestore.store import KinestoreError, UsageError

Answer = Callable[[dict[str, Tensor]], RecordDict | Absence]


def sound(arrays: dict[str, Tensor]) -> RecordDict:
    figures = {"epochs": 1, "loss": 0.5, "accuracy": 1.0, "top5": 1.0}
    return write_content(figures, arrays=arrays)


def not_a_number(arrays: dict[str, Tensor]) -> RecordDict:
    return sound({name: torch.full_like(array, torch.nan) for name, array in arrays.items()})


def flat(arrays: dict[str, Tensor]) -> RecordDict:
    return sound({name: array.flatten() for name, array in arrays.items()})


def late(arrays: dict[str, Tensor]) -> Absence:
    return Absence(reason="gave no answer within 9 s")


def unreadable(arrays: dict[str, Tensor]) -> RecordDict:
    return write_content({"epochs": "many"}, arrays=arrays)


class Stub(ClientExchange):
    """Answers as these clients do."""

    def __init__(self, answers: list[Answer]) -> None:
        self.roster = Roster(names=[f"c{number}" for number in range(len(answers))])
        self._answers = answers

    def ask(
        self, kind: str, requests: Mapping[int, RecordDict], *, seconds: float
    ) -> dict[int, RecordDict | Absence]:
        return {
            client: self._answers[client](read_arrays(content, "arrays"))
            for client, content in requests.items()
        }


def run(answers: list[Answer], *, quorum: int) -> History:
    offer = Offer(protocol=1, federation="0" * 32, job={})
    setup = Setup(offer=offer, client=0, classes=["a", "b"], counts=[3, 3])
    member = Member(setup=setup, num_train=6, num_test=0, num_validation=0, standardizer={})
    clients = RemoteClients(
        Stub(answers),
        [member] * len(answers),
        quorum=quorum,
        seconds=9,
        has_private=False,
        say=lambda _: None,
    )
    config = RoundsConfig(rounds=1, device="cpu")
    model = create("mlp", in_features=4, num_classes=2, seed=0, hidden=(3,))
    runner = RoundRunner(model, clients, config)
    return run_rounds(runner, config, choice=RoundChoice(), checkpoints=None, on_round=None)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (not_a_number, "holds NaN"),
        (flat, r"must be torch.float32 \("),
        (late, "gave no answer within 9 s"),
        (unreadable, "sent a message that cannot be read"),
    ],
)
def test_a_client_that_fails_is_named_and_the_quorum_decides(broken: Answer, reason: str) -> None:
    answers: list[Answer] = [sound, broken, sound]
    (record,) = run(answers, quorum=2).rounds
    assert [one.client for one in record.refusals] == [1]
    with pytest.raises(KinestoreError, match=f"round 1: only 2 of 3 .*client 1: .*{reason}"):
        run(answers, quorum=3)


def test_without_any_answer_the_error_says_to_look_at_the_clients() -> None:
    with pytest.raises(KinestoreError, match=r"none of 2 updates .*; see that these clients run"):
        run([late, late], quorum=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_travel_with_their_bits(dtype: torch.dtype) -> None:
    sent = {"a.b": torch.arange(6).reshape(2, 3).to(dtype), "c": torch.tensor(1).to(dtype)}
    found = read_arrays(write_content({}, group=sent), "group")
    assert all(torch.equal(found[name], array) for name, array in sent.items())
    assert all(found[name].dtype == dtype for name in sent)


@pytest.mark.parametrize(
    "changes", [{"shape": (9, 9)}, {"dtype": "object"}, {"stype": "numpy.ndarray"}]
)
def test_a_tensor_that_is_not_what_it_says_is_refused(changes: dict[str, object]) -> None:
    content = write_content({}, group={"a": torch.zeros(2)})
    for name, value in changes.items():
        setattr(content.array_records["group"]["a"], name, value)
    with pytest.raises(InvalidMessage, match=r"a (is no plain tensor|has other bytes)"):
        read_arrays(content, "group")


def description(**changes: object) -> Description:
    same = Description(
        protocol=1,
        name="c",
        versions=compared_versions(),
        features=["motion@1"],
        shape=[4],
        widths=[4],
        masked=False,
        classes=["a", "b"],
        counts={"a": 3, "b": 3},
        num_train=6,
        num_test=0,
        num_validation=0,
        num_unlabeled=0,
        num_missing=0,
        num_left_out=0,
    )
    return replace(same, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"features": ["motion@2"]}, "has the features motion@2, and the others motion@1"),
        ({"classes": ["a", "c"]}, "has the class 'c'"),
        ({"classes": ["a"]}, "has no clip of class 'b'"),
        ({"shape": [5]}, "has shape="),
        ({"protocol": 2}, "speaks version 2 of the protocol"),
        ({"versions": {**compared_versions(), "torch": "1.0"}}, "has torch 1.0, and the server"),
        ({"counts": {"a": 9}}, "counts that do not add up"),
        ({"num_train": 2, "counts": {"a": 2}}, "has 2 training clips, and min_clips is 3"),
    ],
)
def test_a_client_that_differs_is_refused_with_the_reason(
    changes: dict[str, object], reason: str
) -> None:
    comparison = ClientComparison(names=["c", "d"], classes=None, min_clips=3)
    like = description()
    assert comparison.difference(like, like) is None
    assert reason in str(comparison.difference(description(**changes), like))


def test_two_clients_that_differ_have_no_majority() -> None:
    comparison = ClientComparison(names=["c", "d"], classes=None, min_clips=3)
    with pytest.raises(KinestoreError, match="none are most clients'"):
        comparison.reference({0: description(), 1: description(features=["motion@2"])})


def test_private_keys_are_for_their_owner_alone_and_stay_when_clients_are_added(
    tmp_path: Path,
) -> None:
    make_certificates(tmp_path, hosts=["127.0.0.1", "hub.example.org"], clients=["a"])
    before = registered_keys(tmp_path)
    for path in (tmp_path / "server" / "server.key", tmp_path / "keys" / "a" / "a.key"):
        assert path.stat().st_mode & 0o077 == 0
    make_certificates(tmp_path, hosts=[], clients=["b"])
    assert registered_keys(tmp_path)["a"] == before["a"]
    for clients, hosts in ((["a"], []), (["A b"], []), ([], ["other"]), (["c", "c"], [])):
        with pytest.raises(UsageError):
            make_certificates(tmp_path, hosts=hosts, clients=clients)
