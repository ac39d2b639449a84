"""A language model in three megabytes, in the GGUF format, that says what it is told to say.

Its attention and its feed-forward layer are zero, so that a token's embedding, which is a unit vector,
reaches the output as it went in; and the output matrix holds, for each token, the one that follows it. Each
thing to say is cut into tokens of its own: from its cue on, the model can but say it to the end. That is no
great mind, but the server around it computes, samples, streams and counts as it does for any other.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

UNKNOWN, BEGIN, END, BYTES = 0, 1, 2, 3  # ids; those of the 256 bytes come last
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # kinds of tokens
_UINT32, _INT32, _FLOAT32, _STRING, _ARRAY = 4, 5, 6, 8, 9  # kinds of values
_ALIGNED = 32  # bytes; and numbers to a row
_CERTAIN = 10.0
_LONGEST = 8  # characters of a token: llama-cpp-python has room for 32 bytes

Value = tuple[int, object]


def write(path: Path, speeches: Mapping[str, str], template: str, window: int) -> None:
    """The model: `speeches` are what it says after a prompt that ends with the cue, one byte.

    `template` makes the prompt of the messages; prompt and answer have at most `window` tokens.
    """
    tokens, follows = _vocabulary(speeches)
    width = -(-len(tokens) // _ALIGNED) * _ALIGNED
    settings = _settings(tokens, template, window, width)
    tensors = _tensors(follows, len(tokens), width)
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(settings)))
        for name, value in settings.items():
            file.write(_text(name) + _value(*value))
        offset = 0
        for name, (shape, numbers) in tensors.items():
            file.write(_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset))
            offset += numbers.itemsize * len(numbers)
        file.write(bytes(-file.tell() % _ALIGNED))
        for _, numbers in tensors.values():
            file.write(numbers.tobytes())


def _vocabulary(speeches: Mapping[str, str]) -> tuple[list[tuple[bytes, int]], dict[int, int]]:
    """The tokens with their kinds, and which follows which."""
    tokens = [(b"<unk>", _UNKNOWN), (b"<s>", _CONTROL), (b"</s>", _CONTROL)]
    tokens += [(f"<0x{byte:02X}>".encode(), _BYTE) for byte in range(256)]
    follows: dict[int, int] = {}
    used: set[str] = set()
    for cue, text in speeches.items():
        last = BYTES + ord(cue)
        for piece in _cut(text.replace(" ", "\u2581"), used):
            follows[last], last = len(tokens), len(tokens)
            tokens.append((piece.encode(), _NORMAL))
        follows[last] = END
    return tokens, follows


def _cut(text: str, used: set[str]) -> Iterator[str]:
    """The text in pieces that were not used yet: a vocabulary has each but once."""
    while text:
        piece = next(text[:size] for size in range(_LONGEST, 0, -1) if text[:size] not in used)
        used.add(piece)
        yield piece
        text = text[len(piece) :]


def _settings(tokens: list[tuple[bytes, int]], template: str, window: int, width: int) -> dict[str, Value]:
    return {
        "general.architecture": (_STRING, "llama"),
        "llama.context_length": (_UINT32, window),
        "llama.embedding_length": (_UINT32, width),
        "llama.block_count": (_UINT32, 1),
        "llama.feed_forward_length": (_UINT32, _ALIGNED),
        "llama.attention.head_count": (_UINT32, 1),
        "llama.attention.layer_norm_rms_epsilon": (_FLOAT32, 1e-5),
        "llama.rope.dimension_count": (_UINT32, width),
        "llama.vocab_size": (_UINT32, len(tokens)),
        "tokenizer.ggml.model": (_STRING, "llama"),
        "tokenizer.ggml.tokens": (_ARRAY, (_STRING, [token for token, _ in tokens])),
        "tokenizer.ggml.scores": (_ARRAY, (_FLOAT32, [0.0] * len(tokens))),
        "tokenizer.ggml.token_type": (_ARRAY, (_INT32, [kind for _, kind in tokens])),
        "tokenizer.ggml.unknown_token_id": (_UINT32, UNKNOWN),
        "tokenizer.ggml.bos_token_id": (_UINT32, BEGIN),
        "tokenizer.ggml.eos_token_id": (_UINT32, END),
        "tokenizer.chat_template": (_STRING, template),
    }


def _tensors(
    follows: Mapping[int, int], count: int, width: int
) -> dict[str, tuple[tuple[int, ...], array[float]]]:
    """Shapes, the inner dimension first, and numbers."""
    small = _ALIGNED
    zeros = {
        **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (width, width)),
        **dict.fromkeys(("ffn_gate", "ffn_up"), (width, small)),
        "ffn_down": (small, width),
    }
    ones = array("f", [1.0]) * width
    return {
        "token_embd.weight": ((width, count), _matrix(width, count, ((i, i, 1.0) for i in range(count)))),
        "output.weight": (
            (width, count),
            _matrix(width, count, ((then, now, _CERTAIN) for now, then in follows.items())),
        ),
        "output_norm.weight": ((width,), ones),
        "blk.0.attn_norm.weight": ((width,), ones),
        "blk.0.ffn_norm.weight": ((width,), ones),
        **{f"blk.0.{name}.weight": (shape, _matrix(*shape, iter(()))) for name, shape in zeros.items()},
    }


def _matrix(width: int, height: int, entries: Iterator[tuple[int, int, float]]) -> array[float]:
    """Zero but for `entries`: row, column, number."""
    numbers = array("f", [0.0]) * (width * height)
    for row, column, number in entries:
        numbers[row * width + column] = number
    return numbers


def _text(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: int, value: object) -> bytes:
    return struct.pack("<I", kind) + _plain(kind, value)


def _plain(kind: int, value: object) -> bytes:
    if kind == _STRING and isinstance(value, str | bytes):
        return _text(value)
    if kind == _ARRAY:
        inner, items = cast("tuple[int, list[object]]", value)
        return struct.pack("<IQ", inner, len(items)) + b"".join(_plain(inner, item) for item in items)
    return struct.pack({_UINT32: "<I", _INT32: "<i", _FLOAT32: "<f"}[kind], value)
