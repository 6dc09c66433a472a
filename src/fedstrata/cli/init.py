"""``fedstrata init``: a commented configuration for the user's own model and data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedstrata.errors import ConfigError
from fedstrata.files import argument, writing

TEMPLATE = """\
# A run of fedstrata. Check it and start it with:  fedstrata run {name}
# Paths start from the folder of this file. Any value can be overridden:  --set train.lr=0.1

model:
  path: ./my-model            # Hugging Face folder (config.json, model.safetensors, tokenizer or processor files),
                              # or module:function that returns a torch network. See its layers: fedstrata layers PATH
  head: auto                  # auto: keep the folder's head if it fits; new: start a new one for these labels
  candidates: all             # layers that may be selected: 3, 0-2, -1, first:2, last:2, top:25%, a name, /regex/
  always: []                  # more blocks that everyone trains, beyond head and final norm
  never: []                   # more blocks that stay frozen, beyond the embeddings

data:
  train: ./train.parquet      # parquet, csv, jsonl, a glob, or an image folder; or  sites: ./sites  (a folder per site)
  test: ./test.parquet        # rows that the server keeps for evaluation; or  test_fraction: 0.2
  text: text                  # the column of texts; for images  image: image
  label: label                # the column of labels
  held_out: 0.1               # share of each client's rows that chooses the best round
  max_length: 128             # tokens per text
  partition:                  # how rows come to clients (leave it out with 'sites')
    kind: dirichlet           # dirichlet | iid | shard | natural-id  (natural-id: give 'column')
    clients: 10
    alpha: 0.3

selector:
  kind: consensus             # full | head-only | top | bottom | both | random | independent | common | consensus
  rho: 1.0                    #   | cyclic | fixed | periodic | warmup.   rho: 0 is independent, negative is diversity
score:
  kind: gradient-norm         # gradient-norm | relative-gradient-norm | signal-to-noise
budget:
  kind: fixed                 # fixed | half-normal (low, high) | per-client (clients: {{name: n}}) | device | unlimited
  layers: 2                   # per client and round; also  bytes_up: 25%   bytes_peak: 8 GiB   flops: 3 TFLOP
                              #   seconds: 90 s  (needs devices). See what masks cost:  fedstrata plan {name}
sampler:
  kind: uniform               # clients_per_round: 5 takes a part of them; by default all.  Or only (clients: name)
trainer:
  kind: sgd                   # sgd | fedprox (mu) | augmented (flip, shift, randaugment: of images)
probe:
  batches: 1                  # mini-batches per probe; 0 measures on every row
  batch_size: 32

train:
  rounds: 20
  epochs: 1                   # or  steps: 10
  batch_size: 32
  optimizer: adamw            # adamw | sgd | momentum
  lr: 5.0e-4                  # of the selected layers
  always_lr: auto             # of what everyone trains; auto: 10 lr for a new head (adamw), else lr
  clip_norm: null
  precision: auto             # auto | fp32 | bf16 | fp16

# devices: my-laptop.yaml    # speed of the clients' machines, written by:  fedstrata bench client {name}
seed: 0
threads: 1                    # part of the run's identity: another number of threads gives other bits
# output: runs/my-run         # by default runs/<date>_<method>_s<seed>
"""


def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("fedstrata.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a commented configuration to fill in."""
    if path.exists() and not force:
        raise ConfigError(f"{path} exists; give another name, or --force to replace it")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name the file to write")
    name = argument(path)
    with writing(path, "name a file in a folder of yours", refused=ConfigError):
        path.write_text(TEMPLATE.format(name=name), encoding="utf-8", errors="replace")  # names need be no UTF-8
    typer.echo(f"wrote {path}: fill in model.path and data, then: fedstrata plan {name}, and: fedstrata run {name}")
