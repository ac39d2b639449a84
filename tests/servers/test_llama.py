"""Against llama.cpp's server: llama-cpp-python, version 0.3.36 (requirements/llama.txt).

It computes a real model, whose weights are made for the test (`weights.py`) and so say what is expected. What
it does, as seen:

- it has no parser for a model's tool calls: they come as text, in the model's own markup
- it sends no usage with a stream, asked or not
- a prompt that is too long for the window gets status 200 and an empty body, if a stream was asked for
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
import weights
from foreign import free_port, install, served
from running import CHECK, RIGHT, ROOT, Run, run, to

pytestmark = pytest.mark.slow

VENV = ROOT / ".venv-llama"
WINDOW = 2048  # tokens
CALL = """\
I change it.
<tool_call>edit
<arg_key>path</arg_key>
<arg_value>calc.py</arg_value>
<arg_key>old</arg_key>
<arg_value>return a - b</arg_value>
<arg_key>new</arg_key>
<arg_value>return a + b</arg_value>
</tool_call>"""
ANSWER = "Done: it adds now (加法)."
# The prompt is what was said to the model, and a mark of who said it.
PROMPT = """\
{% for message in messages %}{% if message.role != "system" %}{{ message.content }}{% endif %}{% endfor %}\
{{ "!" if messages[-1].role == "tool" else "?" }}"""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[str, ...]]:
    """The flags for llama.cpp's server, key `of-llama`, whose model calls a tool and then is done."""
    if not (VENV / "installed-llama").exists():
        pytest.skip("`python3 tools/_setup.py llama` compiles it first, for some minutes")
    python = install("llama")
    folder, port = tmp_path_factory.mktemp("llama"), str(free_port())
    weights.write(folder / "model.gguf", {"?": CALL, "!": ANSWER}, PROMPT, WINDOW)
    argv = [str(python), "-m", "llama_cpp.server", "--model", "model.gguf", "--model_alias", "glm-4.7"]
    more = ["--n_ctx", str(WINDOW), "--n_threads", "1", "--api_key", "of-llama", "--port", port]
    with served([*argv, *more], folder, f"http://127.0.0.1:{port}/docs"):
        yield to(f"http://127.0.0.1:{port}/v1")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", "of-llama")


def test_a_bug_is_found_fixed_and_verified(llama: tuple[str, ...], repo: Path) -> None:
    words = ["--verify", CHECK, "--json"]
    ran = run(repo, "fix", "Make it add.", *llama, *words, env={"GLM_AGENT_API_KEY": "of-llama"})
    assert (ran.code, ran.result["result"], ran.result["num_turns"]) == (0, ANSWER, 2)
    assert (repo / "calc.py").read_text("utf-8").endswith(RIGHT)
    assert len(ran.result["verification"]["fixed"]) == 2


def test_its_tokens_are_shown_as_they_come(llama: tuple[str, ...], glm: Run) -> None:
    ran = glm("fix", "Make it add.", *llama, "--json", "--include-partial-messages")
    deltas = [event["event"]["delta"]["text"] for event in ran.events if event["type"] == "stream_event"]
    assert "".join(deltas).endswith(ANSWER)
    assert deltas[-3:] == ["Done: it", " adds no", "w (加法)."]


def test_a_key_that_it_does_not_know(
    llama: tuple[str, ...], glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", "of-someone-else")
    ran = glm("ask", "Why?", *llama, "--json")
    assert (ran.code, ran.result["subtype"]) == (41, "error_auth")


def test_an_answer_cut_at_its_limit_is_no_answer(llama: tuple[str, ...], glm: Run) -> None:
    ran = glm("ask", "Why?", *llama, "--max-tokens", "3", "--json")
    assert (ran.code, ran.result["result"]) == (55, "")


def test_a_prompt_too_long_for_it_is_never_a_success(llama: tuple[str, ...], glm: Run) -> None:
    ran = glm("ask", "x" * 3000, *llama, "--json")
    assert (ran.code, ran.result["subtype"]) == (75, "error_provider")
    assert "the answer is empty" in ran.result["errors"][0]
