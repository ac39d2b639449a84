from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.commands import task
from glm_agent.commands.task import Task
from glm_agent.errors import UsageError

Feed = Callable[..., None]


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed]:
    """Puts bytes on standard input: a pipe that then ends, or stays open."""
    before = os.dup(0)
    writers: list[int] = []

    def put(data: bytes, *, stays_open: bool = False) -> None:
        reader, writer = os.pipe()
        os.write(writer, data)
        os.dup2(reader, 0)
        os.close(reader)
        if stays_open:
            writers.append(writer)
        else:
            os.close(writer)

    with open(0, encoding="utf-8", closefd=False) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield put
    os.dup2(before, 0)
    for descriptor in (before, *writers):
        os.close(descriptor)


def test_words_alone(feed: Feed) -> None:
    feed(b"")
    assert task.read("Do it.", None, None) == Task("Do it.", "none")


def test_piped_data_is_fenced_behind_the_words(feed: Feed) -> None:
    feed(b"log ``` here\n")
    assert task.read("Why?", None, None) == Task("Why?\n\nStandard input:\n````\nlog ``` here\n````", "read")


def test_piped_data_alone_is_the_task(feed: Feed) -> None:
    feed(b"Tu's.\n")
    assert task.read(None, None, None) == Task("Tu's.\n", "read")


def test_a_silent_pipe_is_waited_for_a_moment_only(feed: Feed) -> None:
    feed(b"", stays_open=True)
    started = time.monotonic()
    assert task.read("Do it.", None, None) == Task("Do it.", "skipped")
    assert 0.15 < time.monotonic() - started < 1


def test_a_pipe_with_data_need_not_be_closed_to_be_left_alone(feed: Feed) -> None:
    feed(b"noise", stays_open=True)
    assert task.read("Do it.", None, False) == Task("Do it.", "none")


def test_a_file_and_a_dash_are_read_whole(feed: Feed, tmp_path: Path) -> None:
    feed(b"from stdin")
    assert task.read("-", None, None) == Task("from stdin", "read")
    (tmp_path / "t").write_text("from a file")
    assert task.read(None, str(tmp_path / "t"), None) == Task("from a file", "none")


@pytest.mark.parametrize(
    ("argument", "file", "stdin"), [("a", "b", None), ("-", "b", None), ("-", None, False)]
)
def test_two_sources_are_one_too_many(argument: str, file: str | None, stdin: bool | None) -> None:
    with pytest.raises(UsageError):
        task.read(argument, file, stdin)


@given(st.text(alphabet="`\na ", max_size=30))
def test_no_text_can_leave_its_fence(feed_text: str) -> None:
    fenced = task.fenced(feed_text)
    fence, _, rest = fenced.partition("\n")
    assert rest.rpartition("\n")[2] == fence
    assert fence not in rest.rpartition("\n")[0]
