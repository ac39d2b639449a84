from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Run, call

from glm_agent.dialects import models, providers, use_rows
from glm_agent.replay import Server


@pytest.fixture(autouse=True)
def no_rows_left_behind() -> Iterator[None]:
    yield
    use_rows({}, {})


def rows(text: str) -> dict[str, list[str]]:
    """The lines of a table by their first word."""
    lines = [re.split(r" {2,}", line) for line in text.split("\n") if line]
    return {line[0]: line for line in lines}


def test_models_are_listed_as_the_provider_has_them(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = rows(call(["models", "--provider", "deepinfra"], capfdbinary).out)
    assert found["glm-4.7*"][1:] == [
        *("zai-org/GLM-4.7", "202752", "16384", "switch", "-", "0.4", "0.08", "1.75", "2026-07")
    ]
    assert found["glm-5.3"][-4:] == ["?", "?", "?", "-"]
    assert found["glm-5.2"][5] == "low high max"
    novita = rows(call(["models", "--provider", "novita"], capfdbinary).out)
    assert novita["glm-5.2"][5] == "-"  # which takes no effort
    assert {name.removesuffix("*") for name in found} >= {*models(), *providers()}
    assert found["huggingface"][1:] == [
        *("https://router.huggingface.co/v1", "HF_TOKEN", "Hugging Face router")
    ]


def test_models_as_json_say_what_is_known_and_null_where_nothing_is(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    found = json.loads(call(["models", "--provider", "openrouter", "--json"], capfdbinary).out)
    by_name = {row["name"]: row for row in found["models"]}
    assert (found["provider"], list(by_name)) == ("openrouter", list(models()))
    assert by_name["glm-4.7"] == {
        "name": "glm-4.7",
        "id": "z-ai/glm-4.7",
        "default": True,
        "window": 202_752,
        "output": 131_072,
        "thinking": "switch",
        "effort": [],
        "keeps_thinking": False,
        "tool_stream": False,
        "vision": False,
        "price": [0.3, 0.3, 1.4],
        "price_date": "2026-11",
    }
    assert (by_name["glm-5"]["price"], by_name["glm-5"]["price_date"]) == (None, None)
    assert by_name["glm-4.6v"]["vision"] is True
    assert [row["name"] for row in found["providers"]] == list(providers())
    assert found["providers"][1] == {
        "name": "zai-coding",
        "title": "Z.ai Coding Plan",
        "base_url": "https://api.z.ai/api/coding/paas/v4",
        "key_env": ["ZAI_API_KEY", "ZHIPU_API_KEY"],
        "key_needed": True,
        "in_flight": 1,
    }


def test_rows_of_the_user_are_listed_too(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file = home / ".config/glm-agent/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        'provider = "lab"\n[providers.lab]\nbase_url = "http://lab/v1"\ntitle = "Our \\u001b[31mlab"\n'
        "[models.qwen]\nwindow = 4096\nprice.lab = [1, 0.5, 2]\n"
    )
    ran = call(["models"], capfdbinary)
    found = rows(ran.out)
    assert found["qwen"][1:] == [*("qwen", "4096", "4096", "switch", "-", "1", "0.5", "2", "config.toml")]
    assert found["lab"][1] == "http://lab/v1" and "\x1b" not in ran.out
    file.write_text('[providers.lab]\nbase_url = "lab"\n')
    ran = call(["models", "--json"], capfdbinary)
    assert (ran.code, ran.out) == (52, "")
    assert ran.err.startswith(f"glm-agent: {file}:2: providers.lab.base_url: expected a URL")


def test_a_provider_of_the_user_is_asked_with_its_own_key(
    glm: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / ".config/glm-agent/config.toml"
    file.parent.mkdir(parents=True)
    with Server([{"content": "Because."}]) as server:
        file.write_text(
            f'[providers.lab]\nbase_url = "{server.url}"\nkey_env = "LAB_KEY"\nheaders = {{ X-Team = "a" }}\n'
            'model_ids = { "glm-4.7" = "best" }\nthinking = "none"\nusage_option = false\n'
        )
        assert glm("ask", "Why?", "--provider", "lab").code == 41
        monkeypatch.setenv("LAB_KEY", "sk-of-the-lab")
        assert glm("ask", "Why?", "--provider", "lab").code == 0
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer sk-of-the-lab"
    assert request.headers["x-team"] == "a"
    assert request.body["model"] == "best"
    assert {"thinking", "stream_options"} & set(request.body) == set()


def test_the_default_is_the_provider_s_own(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = json.loads(call(["models", "--provider", "together", "--json"], capfdbinary).out)
    assert [row["name"] for row in found["models"] if row["default"]] == ["glm-5.2"]


def test_a_run_without_a_model_asks_for_the_provider_s_default(glm: Run, home: Path) -> None:
    file = home / ".config/glm-agent/config.toml"
    file.parent.mkdir(parents=True)
    with Server([{"content": "Because."}]) as server:
        file.write_text(f'[providers.lab]\nbase_url = "{server.url}"\ndefault_model = "qwen-3"\n')
        assert glm("ask", "Why?", "--provider", "lab").code == 0
        assert glm("ask", "Why?", "--provider", "lab", "-m", "glm-4.6").code == 0
        assert json.loads(glm("config", "--provider", "lab", "--json").out)["model"]["value"] == "qwen-3"
    assert [request.body["model"] for request in server.requests] == ["qwen-3", "glm-4.6"]
