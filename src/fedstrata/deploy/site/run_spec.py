"""What a server says of a run, and the configuration that a site makes of it and of its own file.

The server's part is listed here key by key, and holds no path that is read but the model's. What is read and where it
is computed is the site's to say, and no code runs that the server names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from fedstrata.config.catalog import describe, ships
from fedstrata.config.load import Loaded, check_config, load_config
from fedstrata.config.schema import ModelSection
from fedstrata.data.read_options import RowTerms
from fedstrata.deploy.site.config import SERVER, SiteConfig
from fedstrata.deploy.site.site_schema import RowsSection
from fedstrata.domain.ids import ClientId
from fedstrata.domain.training import Precision
from fedstrata.errors import ClientError
from fedstrata.models.custom import is_custom
from fedstrata.models.folder_config import EMBEDDED
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.section import Section, Whole
from fedstrata.parsing.typed import problem


class RowsTerms(Section, RowTerms, frozen=True):
    """What the run says of every site's rows."""


class EvaluateTerms(Section, frozen=True):
    """How sites evaluate."""

    batch_size: Whole = Field(default=256, ge=1)


class TrainTerms(Section, frozen=True):
    """What has to be known of training before the first request."""

    precision: Precision = "auto"


class RunSpec(Section, frozen=True):
    """The server's description of a run: all that a site takes from it beside the requests.

    Attributes:
        seed: All random draws of the run follow from it.
        threads: Threads of torch.
        labels: Names of the run's labels, by index.
        model: The model, as a run's configuration describes it.
        data: What the run says of every site's rows.
        evaluate: How sites evaluate.
        train: What has to be known of training.
        trainer: Kind and options of the trainer; one that comes with fedstrata.
    """

    seed: int = Field(ge=0, lt=2**63)
    threads: int = Field(default=1, ge=1, le=4096)
    labels: tuple[str, ...]
    model: ModelSection
    data: RowsTerms = RowsTerms()
    evaluate: EvaluateTerms = EvaluateTerms()
    train: TrainTerms = TrainTerms()
    trainer: dict[str, Any] = Field(default_factory=lambda: {"kind": "sgd"})


def read_run_spec(said: object) -> RunSpec:
    """Return what the server says of a run.

    Raises:
        ClientError: It is no run specification.
    """
    try:
        return RunSpec.model_validate(said)
    except ValidationError as error:
        raise ClientError(f"the run's specification cannot be used: {problem(error, said)}") from error


def digest_of(said: object) -> str:
    """Return what tells two run specifications apart."""
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def compose(site: SiteConfig, run_spec: RunSpec, client: ClientId) -> tuple[Loaded, int]:
    """Return the configuration of a site's part in a run, and the seed that its rows follow from.

    Args:
        site: The site's own file.
        run_spec: What the server says.
        client: The site's name in the run.

    Raises:
        ConfigError: The two do not fit together, or the site's file names something that is not there.
        ClientError: The server names a model or a trainer that it may not name.
    """
    if not ships("trainer", run_spec.trainer):
        raise ClientError("the run's trainer is code, which no site runs for a server; it takes those of fedstrata")
    shared = _shared(site)
    if shared is not None:
        data, base, seed = describe(shared.components.data), shared.base, shared.config.seed
    else:
        data, base, seed = _own(site, run_spec, client), site.base, run_spec.seed
    values: dict[str, Any] = {
        "model": {**run_spec.model.model_dump(), "path": _model(site, run_spec.model.path, shared)},
        "data": data,
        "seed": run_spec.seed,
        "threads": run_spec.threads,
        "device": site.device,
        "evaluate": run_spec.evaluate.model_dump(),
        "train": run_spec.train.model_dump(),
        "trainer": run_spec.trainer,
    }
    return check_config(values, base=base), seed


def _shared(site: SiteConfig) -> Loaded | None:
    """Return the configuration that the site has a client's rows of."""
    return None if site.share is None else load_config(site.base / expanded(site.share.config))


def own_blocks(site: SiteConfig) -> str | Sequence[str] | None:
    """Return where the model's blocks are by the site's own word: its file's, or that of the run that it shares in."""
    shared = None if site.pin.blocks else _shared(site)
    return site.pin.blocks if shared is None else shared.config.model.blocks


def _own(site: SiteConfig, run_spec: RunSpec, client: ClientId) -> dict[str, Any]:
    rows = site.data or RowsSection(train="", text="")  # a site without a share has rows
    own = rows.model_dump(exclude_none=True)
    return {"kind": "own", **own, **run_spec.data.model_dump(), "labels": run_spec.labels, "client": client}


def _model(site: SiteConfig, named: str, shared: Loaded | None) -> str:
    """Return the model's folder, absolute, or its name.

    The site's file decides, or the configuration that it names. What the server names counts only if it comes with
    fedstrata, or if the site's file says ``model: server``; and never if it is code (``module:function``).

    Raises:
        ClientError: The server names a model that it may not name.
    """
    if site.model not in (None, SERVER):
        return _absolute(site.base, str(site.model))
    if site.model is None and shared is not None:
        return _absolute(shared.base, shared.config.model.path)
    if named in EMBEDDED:
        return named
    if is_custom(named):
        raise ClientError("the run's model is code, which no site runs for a server; name a folder in the site's file")
    if site.model == SERVER:
        return _absolute(site.base, named)
    raise ClientError("the site's file names no base model, and the server may not (model)")


def _absolute(base: Path, path: str) -> str:
    if path in EMBEDDED or is_custom(path):
        return path
    return str((base / expanded(path)).absolute())
