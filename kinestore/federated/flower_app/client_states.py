"""What a client keeps to itself, on its own disk: its state after each round that may count."""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from kinestore.federated.state import Arrays, ClientState
from kinestore.federated.update_validation import find_fault
from kinestore.store import KinestoreError, UsageError
from kinestore.store.io.atomic import written_whole
from kinestore.store.io.tensors import read_tensors

_PRIVATE, _CORRECTION = "private.", "correction."


class Refusal(KinestoreError):
    """A sentence that may leave the client: it names no clip and no file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StateFolder:
    """The states of one client in one run, a file for each round.

    Attributes:
        path: The folder, which only this client's user can read.
        first: The state before the first round.
        shared: Shared parameters, whose shapes a correction has.
        is_kept: Whether clients have a state at all with this strategy.
    """

    path: Path
    first: ClientState
    shared: Arrays
    is_kept: bool

    def read(self, number: int) -> ClientState:
        """Return the state after a round; 0 gives the first.

        Raises:
            Refusal: If it is not there, or damaged.
        """
        if number == 0 or not self.is_kept:
            return self.first
        try:
            tensors = read_tensors(self._file(number))
        except UsageError:
            raise Refusal(
                f"its own state after round {number} is not on its disk any more; give it back "
                "its folder, or start a new run"
            ) from None
        parts = {
            prefix: {
                name.removeprefix(prefix): array
                for name, array in tensors.items()
                if name.startswith(prefix)
            }
            for prefix in (_PRIVATE, _CORRECTION)
        }
        state = ClientState(private=parts[_PRIVATE], correction=parts[_CORRECTION])
        fault = find_fault(state.private, self.first.private)
        if state.correction:
            fault = fault or find_fault(state.correction, self.shared)
        if fault:
            raise Refusal(f"its own state after round {number} is of another model ({fault})")
        return state

    def write(self, number: int, state: ClientState, *, keep: list[int]) -> None:
        """Write the state after a round, and remove those that no one goes back to."""
        if not self.is_kept:
            return
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        tensors = {f"{_PRIVATE}{name}": array for name, array in state.private.items()}
        tensors |= {f"{_CORRECTION}{name}": array for name, array in state.correction.items()}
        with written_whole(self._file(number)) as unfinished:
            save_file({name: each.contiguous() for name, each in tensors.items()}, unfinished)
        wanted = {self._file(each) for each in (*keep, number)}
        for path in self.path.glob("round-*.safetensors"):
            if path not in wanted:
                path.unlink()

    def _file(self, number: int) -> Path:
        return self.path / f"round-{number:06}.safetensors"
