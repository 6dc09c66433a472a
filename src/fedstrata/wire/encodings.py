"""Encodings of deltas: float32, bf16, fp16 with a power of two per tensor, int8 with a step per row.

For finite values x, with y what the receiver reads:

    float32   y = x
    bf16      |y - x| <= 2^-8 |x| + 2^-134                         (8 significant bits, round to nearest even)
    fp16      |y - x| <= 2^-11 |x| + 2^-39 max |tensor|            (11 bits, the tensor scaled exactly into its range)
    int8      |y - x| <= (1/254 + 2^-22) max |row| + 2^-143        (round to the nearest of 255 steps per row)

The constants stand for the end of the range: a bf16 ends at 2^-133, a step at 2^-149, and 127 steps add up. But for
float32, the bounds end at the largest bf16, 2^128 - 2^120: what is larger may become infinite, and so is refused like
any value that is not finite. rows are the first dimension of matrices and larger tensors; a vector is one row (Jacob et
al., Quantization and Training of Neural Networks, CVPR 2018, symmetric per-channel form). Zeros stay zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fedstrata.domain.ids import TensorName
from fedstrata.domain.layers import TensorSpec
from fedstrata.wire.messages import Weights
from fedstrata.wire.sizes import Encoding, channels

SCALE = "#scale"
"""Ending of the name under which a tensor's scale travels."""
_LEAST_SCALE = 2.0**-126
"""Smallest normal float32: dividing by it is exact."""


def encode_tensor(name: str, delta: Tensor, encoding: Encoding) -> dict[str, Tensor]:
    """Return what travels for one float32 tensor: its values, and a scale where the encoding has one."""
    if encoding is Encoding.FLOAT32:
        return {name: delta.contiguous()}
    if encoding is Encoding.BF16:
        return {name: delta.to(torch.bfloat16).contiguous()}
    if encoding is Encoding.FP16:
        scale = _power_of_two(delta)
        return {name: (delta / scale).to(torch.float16).contiguous(), name + SCALE: scale}
    rows = _rows(delta)
    steps = rows.abs().amax(dim=1).div_(127.0) if rows.numel() else rows.new_zeros(len(rows))
    units = rows.div(torch.where(steps > 0, steps, 1.0)[:, None]).round_().clamp_(-127, 127)
    return {name: units.to(torch.int8).view(delta.shape), name + SCALE: steps}


def decode_tensor(name: str, sent: Mapping[str, Tensor], encoding: Encoding) -> Tensor:
    """Return the float32 tensor that was sent."""
    values = sent[name]
    if encoding in (Encoding.FLOAT32, Encoding.BF16):
        return values.float()
    scale = sent[name + SCALE]
    if encoding is Encoding.FP16:
        return values.float().mul_(scale)
    return (_rows(values).float() * scale[:, None]).view(values.shape)


def encoded_specs(spec: TensorSpec, encoding: Encoding) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Return shape and type of everything that travels for a tensor, by name."""
    kinds = {
        Encoding.FLOAT32: torch.float32,
        Encoding.BF16: torch.bfloat16,
        Encoding.FP16: torch.float16,
        Encoding.INT8: torch.int8,
    }
    found: dict[str, tuple[tuple[int, ...], torch.dtype]] = {spec.name: (spec.shape, kinds[encoding])}
    if encoding is Encoding.FP16:
        found[spec.name + SCALE] = ((), torch.float32)
    if encoding is Encoding.INT8:
        found[spec.name + SCALE] = ((channels(spec),), torch.float32)
    return found


def as_received(deltas: Weights, encoding: Encoding) -> Weights:
    """Return deltas as the server will read them; float32 comes back as it is, without a copy."""
    if encoding is Encoding.FLOAT32:
        return deltas
    return {name: decode_tensor(name, encode_tensor(name, delta, encoding), encoding) for name, delta in deltas.items()}


def encode_block(tensors: Sequence[TensorSpec], deltas: Weights, encoding: Encoding) -> dict[str, Tensor]:
    """Return everything that travels for a block, on the CPU."""
    sent: dict[str, Tensor] = {}
    seen: set[int] = set()
    for spec in tensors:
        delta = deltas[TensorName(spec.name)].detach().cpu()
        storage = delta.untyped_storage().data_ptr()
        delta = delta.clone() if storage in seen else delta  # safetensors refuses tensors that share memory
        seen.add(storage)
        sent |= encode_tensor(spec.name, delta, encoding)
    return sent


def _rows(tensor: Tensor) -> Tensor:
    """Return a tensor as rows that get one step each. Shape ``[channels, values per channel]``."""
    if tensor.dim() < 2:
        return tensor.reshape(1, -1)
    return tensor.reshape(tensor.shape[0], tensor[0].numel() if len(tensor) else 0)


def _power_of_two(delta: Tensor) -> Tensor:
    """Return the power of two that brings a tensor's largest value to [2^14, 2^15). Shape ``[]``."""
    largest = delta.abs().max() if delta.numel() else delta.new_zeros(())
    _, exponent = torch.frexp(largest)
    return torch.ldexp(delta.new_ones(()), exponent - 15).clamp_(min=_LEAST_SCALE).to(delta.dtype)
