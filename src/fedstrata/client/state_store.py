"""What clients keep between rounds, on the disk of the machine where they train.

FOLDER/RUN/CLIENT/ROUND-ATTEMPT.safetensors    the state after that piece of training, whether or not its answer counted

Whether it counted is the server's to know, so each request says which version is the newest that did, and which others
a checkpoint may still go back to. A version is on disk before the answer leaves; then older ones that no request can
name any more are deleted. So what was trained in vain, or is trained anew, never becomes part of a state.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fedstrata.domain.ids import TensorName
from fedstrata.errors import ClientError
from fedstrata.files import private_folder, sync
from fedstrata.memory_alignment import aligned
from fedstrata.trainers.protocol import ClientState
from fedstrata.wire.messages import StateVersion, Train

if TYPE_CHECKING:
    from hashlib import _Hash

_FILE = re.compile(r"([0-9]+)-([0-9]+)\.safetensors")
_DIGEST = "sha256"


@dataclass(frozen=True, slots=True)
class StateStore:
    """The states of the clients of this machine.

    Attributes:
        folder: A folder per run, with one per client; made on first use.
        limit: Bytes of all together, at most; ``None`` sets no limit.
    """

    folder: Path
    limit: int | None = None

    def read(self, request: Train, names: Collection[TensorName]) -> ClientState:
        """Return what a request's client kept of some tensors, on the CPU; nothing if no version has counted yet.

        Raises:
            ClientError: The version that the request names is not there, or not as it was written.
        """
        if not request.states:
            return {}
        wanted, found = set(names), dict[TensorName, dict[str, Tensor]]()
        for whole, tensor in self._tensors(request, request.states[0]):
            name, _, key = whole.rpartition("/")
            if name in wanted:
                found.setdefault(TensorName(name), {})[key] = tensor
        return found

    def write(self, request: Train, new: ClientState) -> None:
        """Keep the state after a piece of training: of the tensors in ``new`` as it is there, of others as it was.

        Raises:
            ClientError: It cannot be written.
        """
        version, named = (request.round, request.origin.attempt), request.states or ()
        flat = {f"{name}/{key}": tensor for name, kept in new.items() for key, tensor in kept.items()}
        if named:
            flat |= {n: t for n, t in self._tensors(request, named[0]) if n.rpartition("/")[0] not in new}
        own = self._own(request)
        try:
            self._make_room(request, sum(tensor.nbytes for tensor in flat.values()))
            for folder in (self.folder, own.parent, own):
                private_folder(folder)
            _write(own / _name(version), flat)
            for path in own.glob("*.safetensors"):
                name = _FILE.fullmatch(path.name)
                if name and (other := (int(name[1]), int(name[2]))) < version and other not in named:
                    path.unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ClientError(f"what the client keeps between rounds cannot be written: {reason}") from error

    def _own(self, request: Train) -> Path:
        """Return the folder of a client in a run; names of runs come from servers, and may be anything."""
        return self.folder / sha256(request.origin.run.encode()).hexdigest()[:16] / request.client

    def _tensors(self, request: Train, version: StateVersion) -> Iterator[tuple[str, Tensor]]:
        """Yield a version's tensors, one at a time, ascending by name; the digest of all is checked at the end."""
        path, digest = self._own(request) / _name(version), sha256()
        what, advice = f"what the client kept after round {version[0] + 1}", "put it back, or start a new run"
        if not path.is_file():
            raise ClientError(f"{what} is not there any more ({path.name}); {advice}")
        try:
            with safe_open(path, framework="pt") as file:
                for name in sorted(file.keys()):
                    tensor = aligned(file.get_tensor(name))
                    _add(digest, name, tensor)
                    yield name, tensor
                written = (file.metadata() or {}).get(_DIGEST)
        except (OSError, SafetensorError) as error:
            raise ClientError(f"{what} cannot be read ({path.name}: {error}); {advice}") from error
        if written != digest.hexdigest():
            raise ClientError(f"{what} is not as it was written ({path.name}); {advice}")

    def _make_room(self, request: Train, size: int) -> None:
        """Delete the states of other runs, the oldest first, until so many bytes more are within the limit.

        Raises:
            ClientError: This run's alone are too many.
        """
        if self.limit is None:
            return
        runs = [path for path in self.folder.iterdir() if path.is_dir()] if self.folder.is_dir() else []
        sizes = {run: sum(p.stat().st_size for p in run.rglob("*") if p.is_file()) for run in runs}
        excess = sum(sizes.values()) + size - self.limit
        for run in sorted(sizes, key=lambda path: path.stat().st_mtime):
            if excess > 0 and run != self._own(request).parent:
                shutil.rmtree(run, ignore_errors=True)
                excess -= sizes[run]
        if excess > 0:
            raise ClientError(
                f"keeping the client's state between rounds takes {excess:,} bytes more than its site allows"
                f" ({self.limit:,}, client_state_bytes in its file); raise it, or use a trainer that keeps less"
            )


def _name(version: StateVersion) -> str:
    return f"{version[0]:04d}-{version[1]}.safetensors"


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a file whole, and wait until not even a power failure can undo it."""
    digest = sha256()
    plain = {name: tensors[name].cpu().contiguous() for name in sorted(tensors)}
    for name, tensor in plain.items():
        _add(digest, name, tensor)
    draft = path.with_suffix(".draft")
    try:
        save_file(plain, draft, metadata={_DIGEST: digest.hexdigest()})
        draft.chmod(0o600)
        sync(draft)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    sync(path.parent)
    os.utime(path.parent.parent)  # the run was played just now, so it goes last


def _add(digest: _Hash, name: str, tensor: Tensor) -> None:
    digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
    digest.update(tensor.view(-1).view(torch.uint8).numpy().data)


def kept_apart(state: ClientState, parameters: Iterable[Tensor]) -> ClientState:
    """Return a state none of whose tensors shares memory with the parameters, which go on changing."""
    taken = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    return {
        name: {
            key: tensor.detach().clone() if tensor.untyped_storage().data_ptr() in taken else tensor.detach()
            for key, tensor in kept.items()
        }
        for name, kept in state.items()
    }
