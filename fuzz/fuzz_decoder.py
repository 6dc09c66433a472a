"""Coverage-guided fuzzing of the decoder: whatever the bytes, a sound reply or a ``Reject``.

    python -m pip install -e '.[fuzz]'
    python fuzz/fuzz_decoder.py -max_total_time=60            # or -runs=10000000; every option of libFuzzer
    python fuzz/fuzz_decoder.py CORPUS_FOLDER -runs=0          # replay a corpus

The first byte of an input says what was asked for, and whether the rest is a frame or what a frame holds: then lengths
and checksum are made right, so that the fuzzer gets past them, and every other mutation is one of JSON or of float32
instead of bits. Seeds, dictionary and corpus lie in ``.cache/fuzz/decoder``. An input that takes over 0.1 seconds of
processor time, or a process over 512 MB, is a finding like an exception is.
"""

from __future__ import annotations

import gc
import re
import sys
from pathlib import Path
from random import Random
from time import process_time

import atheris

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / ".cache" / "fuzz" / "decoder"
LIMITS = ["-rss_limit_mb=512", "-timeout=1", "-max_len=4096"]
INSTRUMENTED = [f"fedstrata.wire.{name}" for name in ("reply_frames", "manifest", "admission", "encodings")]
MOST_SECONDS = 0.1
SEALED = 128
"""First bytes from here on say that lengths and checksum are made right."""

sys.path.append(str(ROOT / "tests"))
with atheris.instrument_imports(include=INSTRUMENTED):
    from answers import is_answer
    from fedstrata.wire.messages import Reject
    from fedstrata.wire.reply_frames import decode
    from frames import CASES, asked, frame, parts, sealed
    from mutations import edit_json, overwrite

ASKED = [asked(*case) for case in CASES]


def framed(data: bytes) -> bytes:
    """Return the frame around ``length of the manifest (2 bytes) | manifest | body``."""
    said = int.from_bytes(data[:2], "little")
    return sealed(data[2 : 2 + said], data[2 + said :])


def test_one_input(data: bytes) -> None:
    """Decode one input; anything but a sound reply or a ``Reject`` is raised."""
    if not data:
        return
    expected = ASKED[data[0] % len(ASKED)]
    message = framed(data[1:]) if data[0] >= SEALED else data[1:]
    start = process_time()
    found = decode(message, expected)
    if process_time() - start > MOST_SECONDS:
        raise AssertionError(f"this took {process_time() - start:.3f} seconds")
    if not isinstance(found, Reject) and not is_answer(found, expected):
        raise AssertionError(f"this is no answer: {found}")


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """Return an input changed as libFuzzer would, or as one who knows what a frame holds."""
    rng = Random(seed)
    if data and data[0] >= SEALED and rng.random() < 0.5:
        size = 2 + int.from_bytes(data[1:3], "little")
        said, body = data[3 : 1 + size], data[1 + size :]
        try:
            said, body = (edit_json(said, rng), body) if rng.random() < 0.7 else (said, overwrite(body, rng))
        except Exception:  # what is no manifest any more cannot be edited as one
            return atheris.Mutate(data, most)
        return (data[:1] + len(said).to_bytes(2, "little") + said + body)[:most]
    return atheris.Mutate(data, most)


def seeds() -> dict[str, bytes]:
    """Return a sound frame of every kind, as it is and opened."""
    found: dict[str, bytes] = {}
    opened_from = SEALED + -SEALED % len(CASES)
    for i, (kind, encoding) in enumerate(CASES):
        data = frame(kind, encoding)
        said, body = parts(data)
        found[f"{kind}-{encoding}"] = bytes([i]) + data
        found[f"{kind}-{encoding}-opened"] = bytes([opened_from + i]) + len(said).to_bytes(2, "little") + said + body
    return found


def main(arguments: list[str]) -> None:
    """Fuzz until an option or a finding ends it."""
    CORPUS.mkdir(parents=True, exist_ok=True)
    for name, data in seeds().items():
        (CORPUS / name).write_bytes(data)
    words = CORPUS.with_suffix(".dict")
    keys = {key for data in seeds().values() for key in re.findall(rb'"([a-z_]+)":', data)}
    tokens = ["NaN", "-Infinity", "null", "1e999", "[[[[", "18446744073709551616", *sorted(k.decode() for k in keys)]
    words.write_text("".join(f'"{token}"\n' for token in tokens), encoding="utf-8")
    folders = [] if any(not a.startswith("-") for a in arguments) else [str(CORPUS)]
    atheris.Setup(
        [sys.argv[0], *LIMITS, f"-dict={words}", *arguments, *folders], test_one_input, custom_mutator=mutated
    )
    gc.freeze()  # so that no collection of what was imported is taken for a slow input
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
