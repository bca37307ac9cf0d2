"""The swarm of one fold: its particles train alone, meet after each epoch, and move.

Shape legend: N particles, n clips, K classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kinestore.heads import Standardizer, TrainingConfig
from kinestore.heads.support.seeds import derive_seed
from kinestore.heads.training.loop import Diverged, Training
from kinestore.heads.training.optimizer import freeze_trunk
from kinestore.heads.training.processes import Processes
from kinestore.pipeline.training.data import PreparedData, TrainingData
from kinestore.pipeline.training.fold import Fold
from kinestore.pipeline.training.fold_trainer import chosen_class_weights
from kinestore.pipeline.training.swarm.config import SwarmConfig
from kinestore.pipeline.training.swarm.dynamics import Swarm, TensorsInMemory
from kinestore.pipeline.training.swarm.meeting import meet
from kinestore.pipeline.training.swarm.position_files import (
    ParticleRecord,
    PositionFiles,
    SwarmState,
)

_CALMER = "use smaller numbers in matrix, a lower c2, or mode='code'"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedSwarm:
    """The result of one fold.

    Attributes:
        fold: The fold.
        model: The best position of the chosen particle.
        standardizer: How its input is scaled.
        chosen: The particle with the fittest best position, 0 for the first, the first of equals.
        best_epochs: Epoch of each particle's best position.
        records: One for each epoch and particle.
        logits: Logits of the test clips by the model, shape (n, K); empty without test clips.
    """

    fold: Fold
    model: nn.Module
    standardizer: Standardizer
    chosen: int
    best_epochs: list[int]
    records: list[ParticleRecord]
    logits: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class SwarmTrainer:
    """Trains the swarm of every fold of a job.

    Attributes:
        data: The clips and the model.
        training: How a particle is trained, but for its learning rate.
        config: The swarm.
        seed: 0 or more.
        processes: Where particles are trained; a single process.
        out: The run folder.
        on_particle: Called with the epoch and the number of a particle after its training.
    """

    data: TrainingData
    training: TrainingConfig
    config: SwarmConfig
    seed: int
    processes: Processes
    out: Path
    on_particle: Callable[[ParticleRecord], None]

    def train(
        self, fold: Fold, number: int, on_epoch: Callable[[list[ParticleRecord]], None]
    ) -> TrainedSwarm:
        """Train a swarm on one part; the validation part alone chooses, the test part nothing.

        Args:
            fold: It has a validation part.
            number: Number of the fold.
            on_epoch: Called with the records of each epoch, also of those that resuming skips.

        Raises:
            Diverged: If a particle diverges; the error names it.
        """
        swarm = _FoldSwarm(self, fold, PositionFiles(self.out, number))
        state = swarm.first_state()
        for epoch in range(1, state.epoch + 1):
            on_epoch([record for record in state.records if record.epoch == epoch])
        for epoch in range(state.epoch + 1, self.training.epochs + 1):
            state = swarm.advance(state, epoch)
            on_epoch(state.records[-self.config.particles :])
        return swarm.result(state)

    def learning_rate(self, particle: int, epoch: int) -> float:
        """Return a particle's rate in an epoch: its own, or drawn log-uniform from its range."""
        rate = self.config.rates()[particle]
        if not isinstance(rate, tuple):
            return rate
        rng = np.random.default_rng(derive_seed("learning rate", self.seed, particle, epoch))
        low, high = np.log10(rate)
        return float(10 ** rng.uniform(low, high))

    def particle_seed(self, particle: int) -> int:
        """Return the seed of a particle's first weights, batches, augmentation and dropout."""
        return derive_seed("particle", self.seed, 0 if self.config.same_start else particle)


class _FoldSwarm:
    """The particles of one fold."""

    def __init__(self, trainer: SwarmTrainer, fold: Fold, files: PositionFiles) -> None:
        self._trainer, self._config, self._fold, self._files = trainer, trainer.config, fold, files
        data, training = trainer.data, trainer.training
        self._ready: PreparedData = data.prepare([fold.train])
        seeds = [trainer.particle_seed(own) for own in range(self._config.particles)]
        self._seeds, self._models = seeds, [data.new_model(seed) for seed in seeds]
        if training.freeze == "trunk":
            for model in self._models:
                freeze_trunk(model)
        moving = [_moving(model, self._config) for model in self._models]
        self._after = [TensorsInMemory(tensors) for tensors in moving]
        self._sizes = {name: tensor.numel() for name, tensor in moving[0].items()}
        labels = data.rows.labels[fold.train]
        num_classes = len(data.rows.classes)
        self._class_weights = chosen_class_weights(training, labels, num_classes=num_classes)

    def first_state(self) -> SwarmState:
        """Return the state to continue from: that of a checkpoint, or a new one."""
        states = [model.state_dict() for model in self._models]
        if self._config.resume:
            found = self._files.newest(states[0], particles=len(states))
            if found is not None:
                for model, name in zip(self._models, found.starts, strict=True):
                    model.load_state_dict(self._files.load(name, states[0]))
                return found
        names = [self._files.write("x", own + 1, 0, state) for own, state in enumerate(states)]
        count = len(names)
        state = SwarmState(
            epoch=0, starts=names, bests=names, fitness=[None] * count, best_epochs=[0] * count
        )
        self._files.commit(state)
        return state

    def advance(self, state: SwarmState, epoch: int) -> SwarmState:
        """Train every particle for an epoch, let them exchange, and write the state."""
        records = [self._train(own, epoch) for own in range(len(self._models))]
        better = self._better(state, records)
        fitness, best_epochs = list(state.fitness), list(state.best_epochs)
        for own in better:
            fitness[own], best_epochs[own] = self._fitness(records[own]), epoch
        exchanges, bests = self._config.exchanges(epoch), list(state.bests)
        if exchanges:
            for own in better:
                bests[own] = self._write("best", own, epoch)
        between = replace(state, bests=bests, fitness=fitness)
        records = self._meet(between, records, exchanges=exchanges)
        starts = [self._write("x", own, epoch) for own in range(len(self._models))]
        if not exchanges:  # a particle starts its next epoch where this one ended
            for own in better:
                bests[own] = starts[own]
        after = SwarmState(
            epoch=epoch,
            starts=starts,
            bests=bests,
            fitness=fitness,
            best_epochs=best_epochs,
            records=[*state.records, *records],
        )
        self._files.commit(after)
        return after

    def result(self, state: SwarmState) -> TrainedSwarm:
        """Return the best position of the particle that validation chooses."""
        fitness = [_known(one) for one in state.fitness]
        chosen = int(np.argmax(fitness))
        model, test = self._models[chosen], self._fold.test
        model.load_state_dict(self._files.load(state.bests[chosen], model.state_dict()))
        logits = self._ready.predict_final(model, test) if len(test) else torch.empty(0)
        return TrainedSwarm(
            fold=self._fold,
            model=model.cpu(),
            standardizer=self._ready.standardizer,
            chosen=chosen,
            best_epochs=state.best_epochs,
            records=state.records,
            logits=logits,
        )

    def _train(self, own: int, epoch: int) -> ParticleRecord:
        """Train one particle for an epoch, and score it; name it if it diverges."""
        trainer, model = self._trainer, self._models[own]
        (samples,) = self._ready.clients
        rate = trainer.learning_rate(own, epoch)
        try:
            trained = Training(
                model,
                samples,
                config=replace(trainer.training, learning_rate=rate),
                seed=self._seeds[own],
                processes=trainer.processes,
                class_weights=self._class_weights,
            ).epoch(epoch, np.arange(len(samples)))
        except Diverged as error:
            raise Diverged(f"particle {own + 1}: {error}") from error
        model.eval()
        model.zero_grad(set_to_none=True)  # gradients would be kept for every particle
        loss, accuracy = self._score(model, self._fold.validation)
        if not np.isfinite(loss):
            raise Diverged(
                f"particle {own + 1}: epoch={epoch}: its validation loss is NaN or infinite; use a "
                f"lower learning rate than {rate:g} for it"
            )
        test = self._fold.test
        record = ParticleRecord(
            epoch=epoch,
            particle=own + 1,
            learning_rate=rate,
            train_loss=trained.loss,
            train_accuracy=trained.accuracy,
            validation_loss=loss,
            validation_accuracy=accuracy,
            test_accuracy=self._score(model, test)[1] if len(test) else None,
            distances=[],
            step=0.0,
        )
        trainer.on_particle(record)
        return record

    def _score(self, model: nn.Module, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Return mean cross-entropy and accuracy."""
        logits = self._ready.predict(model, rows)
        labels = torch.from_numpy(self._trainer.data.rows.labels[rows])
        accuracy = float((logits.argmax(1) == labels).double().mean())
        return nn.functional.cross_entropy(logits, labels).item(), accuracy

    def _fitness(self, record: ParticleRecord) -> float:
        by_loss = self._config.fitness == "loss"
        return -record.validation_loss if by_loss else record.validation_accuracy

    def _better(self, state: SwarmState, records: list[ParticleRecord]) -> list[int]:
        """Return the particles that are fitter than ever before, in the strict sense."""
        pairs = zip(records, state.fitness, strict=True)
        return [own for own, (one, best) in enumerate(pairs) if self._fitness(one) > _known(best)]

    def _meet(
        self, state: SwarmState, records: list[ParticleRecord], *, exchanges: bool
    ) -> list[ParticleRecord]:
        """Measure the particles and, with an exchange, move them; return the complete records."""
        swarm = Swarm(
            starts=[self._files.open(name) for name in state.starts],
            after=self._after,
            bests=[self._files.open(name) for name in state.bests],
            fitness=[_known(one) for one in state.fitness],
            rates=[record.learning_rate for record in records],
        )
        epoch = records[0].epoch
        r = None
        if exchanges:
            r = np.random.default_rng(derive_seed("exchange", self._trainer.seed, epoch)).uniform()
        try:
            found = meet(swarm, self._sizes, config=self._config, r=r)
        except Diverged as error:
            raise Diverged(f"{error}, after epoch={epoch}; {_CALMER}") from error
        return [
            replace(record, **measured) for record, measured in zip(records, found, strict=True)
        ]

    def _write(self, kind: str, own: int, epoch: int) -> str:
        return self._files.write(kind, own + 1, epoch, self._models[own].state_dict())


def _known(fitness: float | None) -> float:
    """Return a fitness; that of a position before any epoch is below all others.

    The released code has 0 there, which no accuracy is below.
    """
    return -np.inf if fitness is None else fitness


def _moving(model: nn.Module, config: SwarmConfig) -> Mapping[str, Tensor]:
    """Return the tensors that distances and updates include: what learns, and buffers if wanted."""
    found = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}
    if config.include_buffers:
        buffers = model.named_buffers()
        found |= {name: each for name, each in buffers if each.is_floating_point()}
    return found
