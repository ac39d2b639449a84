"""Thoughts that came in the text, as `<think>` blocks or with only the end of one."""

from __future__ import annotations

import re
from dataclasses import replace

from ..types import Assistant
from .markup import Tokens, Tools, parse

_ROUNDS = 8  # taking markup out can leave new markup, if somebody is at play
_CLOSE = "</think>"
_ENDINGS = ("<|user|>", "<|observation|>", "<|assistant|>", "<|endoftext|>")


def move_thoughts(message: Assistant, tools: Tools, notes: list[str]) -> Assistant:
    """`message` with thoughts moved out of its text, and the template's own marks dropped."""
    text, thought = message.text, message.thought
    if "<" not in text:
        return message
    for _ in range(_ROUNDS):
        left, thoughts = _Splitter(text, tools).split()
        if left == text:
            break
        text = left
        for inner in thoughts:
            thought = _join(thought, inner)
        if thoughts:
            notes.append("the text held thinking")
    return replace(message, text=text, thought=thought)


class _Splitter:
    """Cuts a text at its thoughts."""

    __slots__ = ("_kept", "_last_close", "_said", "_start", "_thoughts", "_tokens", "_tools", "_trying")

    def __init__(self, text: str, tools: Tools) -> None:
        self._tokens = Tokens(text)
        self._tools = tools
        self._last_close = text.rfind(_CLOSE)
        self._trying = True  # to read calls: after a broken one there is no telling where the next ends
        self._said = False  # something before a block that does not close
        self._start = 0  # of what has neither been kept nor moved
        self._kept: list[str] = []
        self._thoughts: list[str] = []

    def split(self) -> tuple[str, list[str]]:
        """What is left of the text, and the thoughts that were in it."""
        while token := self._tokens.next():
            if token.lastgroup == "call":
                self._pass_call(token)
            elif token[0] == "<think>":
                self._move_block(token)
            elif token.lastgroup in ("think", "box"):
                self._keep_until(token)
                self._start = token.end()
                if token[0] == _CLOSE:  # the template ate the opening: all before it was thought
                    self._thoughts.append("".join(self._kept))
                    self._kept.clear()
        left = _without_endings("".join([*self._kept, self._tokens.text[self._start :]]))
        return (left.strip() if self._thoughts else left), self._thoughts

    def _pass_call(self, token: re.Match[str]) -> None:
        """What a call's argument holds is not ours to change."""
        written = parse(token.string, token.start(), self._tools) if self._trying else None
        self._trying = written is not None
        if written:
            self._tokens.place = written.end

    def _move_block(self, token: re.Match[str]) -> None:
        """The block that `token` opens; one that never closes counts only if nothing was said before."""
        text, closed = token.string, self._last_close >= token.end()
        if not closed and self._has_said(token):
            return
        end = text.find(_CLOSE, token.end()) if closed else len(text)
        self._keep_until(token)
        self._thoughts.append(text[token.end() : end])
        self._start = self._tokens.place = min(end + len(_CLOSE), len(text))

    def _has_said(self, token: re.Match[str]) -> bool:
        """Whether there is text before `token`; looked up once, for no block closes after it."""
        if not self._said:
            before = "".join([*self._kept, token.string[self._start : token.start()]])
            self._said = bool(before.strip())
        return self._said

    def _keep_until(self, token: re.Match[str]) -> None:
        self._kept.append(token.string[self._start : token.start()])


def _without_endings(text: str) -> str:
    """`text` without the marks by which a template starts the next turn."""
    end, bare = len(text), _bare_end(text, len(text))
    while mark := next((mark for mark in _ENDINGS if text.endswith(mark, 0, bare)), None):
        end = bare = _bare_end(text, bare - len(mark))
    return text[:end]


def _bare_end(text: str, end: int) -> int:
    """Where `text[:end]` ends without the space at its end."""
    while end and text[end - 1].isspace():
        end -= 1
    return end


def _join(thought: str | None, more: str) -> str | None:
    """Both thoughts; a host that sends the same twice is not doubled."""
    more = more.strip()
    if not more or (thought and more in thought):
        return thought
    if not thought or thought.strip() in more:
        return more
    return f"{thought}\n{more}"
