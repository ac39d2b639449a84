from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from running import DONE, FIX, READ, ROOT, Run, make_repository, to

from glm_agent import config
from glm_agent.dialects import providers
from glm_agent.replay import Server
from glm_agent.settings import OPTIONS
from glm_agent.types import Json


def settings(glm: Run, *words: str) -> dict[str, Json]:
    ran = glm("config", "--json", *words)
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def user_file(home: Path, text: str, name: str = "config.toml") -> Path:
    file = home / ".config/glm-agent" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_each_value_is_shown_with_the_layer_it_comes_from(
    glm: Run, repo: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = user_file(home, 'model = "glm-4.6"\neffort = "low"\nmax_turns = 30\nquiet = true\n')
    (repo / ".glm-agent.toml").write_text('model = "glm-4.5"\nmax_turns = 20\n')
    monkeypatch.setenv("GLM_AGENT_EFFORT", "high")
    monkeypatch.setenv("GLM_AGENT_PROVIDER", "bigmodel")
    found = settings(glm, "--provider", "openrouter")
    assert {name: found[name] for name in ("model", "effort", "max_turns", "quiet", "provider", "color")} == {
        "model": {"value": "glm-4.5", "origin": f"repository {repo / '.glm-agent.toml'}"},
        "effort": {"value": "high", "origin": "environment GLM_AGENT_EFFORT"},
        "max_turns": {"value": 20, "origin": f"repository {repo / '.glm-agent.toml'}"},
        "quiet": {"value": True, "origin": f"user {file}"},
        "provider": {"value": "openrouter", "origin": "flag"},
        "color": {"value": "auto", "origin": "default"},
    }


def test_every_option_is_listed_and_without_configuration_is_a_default(glm: Run) -> None:
    found = settings(glm)
    assert set(OPTIONS) < set(found)
    assert {name for name in OPTIONS if found[name]["origin"] != "default"} == set[str]()
    assert found["base_url"]["value"] == "https://api.z.ai/api/paas/v4"
    assert found["api_key"] == {
        "value": "missing",
        "origin": "looked in GLM_AGENT_API_KEY, ZAI_API_KEY, ZHIPU_API_KEY",
    }


def test_as_text_it_is_a_table_without_the_key(glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZAI_API_KEY", "sk-0123456789")
    monkeypatch.setenv("GLM_AGENT_VERIFY", "make test\nmake lint")
    rows = [re.split(r" {2,}", line) for line in glm("config").out.split("\n")]
    assert rows[0] == ["OPTION", "VALUE", "ORIGIN"]
    assert ["api_key", "found", "ZAI_API_KEY"] in rows
    assert ["verify", "make test; make lint", "environment GLM_AGENT_VERIFY"] in rows
    assert "sk-0123456789" not in str(rows)


def test_bare_leaves_files_out(glm: Run, repo: Path, home: Path) -> None:
    user_file(home, "quiet = true\n")
    user_file(home, "ZAI_API_KEY=sk-0123456789\n", ".env")
    (repo / ".glm-agent.toml").write_text("max_turns = 20\n")
    found = settings(glm, "--bare")
    assert [found[name]["origin"] for name in ("quiet", "max_turns")] == ["default", "default"]
    assert found["api_key"]["value"] == "missing"


def test_a_bad_file_is_one_line_and_52(glm: Run, home: Path) -> None:
    file = user_file(home, "quiet = 1\nnonsense = 2\n")
    ran = glm("config")
    assert (ran.code, ran.out) == (52, "")
    assert ran.err == f"glm-agent: {file}:1: quiet = 1: expected true or false\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"temperature = 1{'0' * 400}", "expected a number from 0 to 2"),
        (f"max_turns = {'9' * 5000}", "not valid TOML: a number has too many digits"),
        (f"max_turns = 0x{'f' * 5000}", "max_turns = …: expected a whole number, 1 or more"),
        (f"max_wall_time = 0x{'f' * 5000}", "max_wall_time = …: "),
        (f"[models.a.price]\nzai = [1{'0' * 400}, 1, 1]", "expected three prices"),
    ],
)
def test_a_number_beyond_all_measure_is_one_line_and_52(glm: Run, home: Path, text: str, says: str) -> None:
    user_file(home, text)
    ran = glm("config")
    assert (ran.code, ran.out, ran.err.count("\n")) == (52, "", 1)
    assert says in ran.err


# Base URLs and keys


def test_base_urls_count_from_flag_then_environment_then_file(
    glm: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*words: str) -> tuple[str, str]:
        return (row := settings(glm, *words)["base_url"])["value"], row["origin"].partition(" ")[2]

    file = user_file(home, 'base_url = "http://file/v1"\n')
    assert found() == ("http://file/v1", str(file))
    monkeypatch.setenv("ZAI_BASE_URL", "http://zai/v1")
    assert found() == ("http://zai/v1", "ZAI_BASE_URL")
    assert found("--provider", "openrouter") == ("http://file/v1", str(file))
    monkeypatch.setenv("GLM_AGENT_BASE_URL", "http://ours/v1")
    assert found() == ("http://ours/v1", "GLM_AGENT_BASE_URL")


def test_an_env_file_gives_keys_and_nothing_else_and_the_rest_is_said(
    glm: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file(home, "GLM_AGENT_API_KEY=sk-from-home  # mine\n", ".env")
    (tmp_path / "keys").write_text(
        "# keys\nexport GLM_AGENT_API_KEY='sk-from-file'\nGLM_AGENT_BASE_URL=http://thief.example/v1\n"
        "ZAI_BASE_URL=http://thief.example/v1\nGLM_AGENT_YOLO=1\nOTHER=1\n"
    )
    with Server([DONE]) as server:
        assert glm("ask", "What?", *to(server.url)).code == 0
        ran = glm("ask", "What?", "--env-file", str(tmp_path / "keys"), *to(server.url))
        monkeypatch.setenv("GLM_AGENT_API_KEY", "sk-from-start")
        assert glm("ask", "What?", "--env-file", str(tmp_path / "keys"), *to(server.url)).code == 0
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer sk-from-home", "Bearer sk-from-file", "Bearer sk-from-start"]
    assert "GLM_AGENT_BASE_URL, ZAI_BASE_URL, GLM_AGENT_YOLO in an env file is ignored" in ran.err


def test_nothing_is_read_from_an_env_file_of_the_repository(glm: Run, repo: Path) -> None:
    (repo / ".env").write_text("GLM_AGENT_API_KEY=sk-of-the-repository\nZAI_API_KEY=sk-of-the-repository\n")
    assert settings(glm)["api_key"]["value"] == "missing"
    assert glm("ask", "What?").code == 41


def test_the_environment_of_the_start_gives_base_url_and_key(
    glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server([DONE]) as server:
        monkeypatch.setenv("ZAI_BASE_URL", server.url)
        monkeypatch.setenv("ZAI_API_KEY", "sk-0123456789")
        monkeypatch.setenv("OPENAI_BASE_URL", "http://thief.example/v1")
        monkeypatch.setenv("OPENAI_ORG_ID", "org-of-someone")
        assert glm("ask", "What?").code == 0
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer sk-0123456789"
    assert "org-of-someone" not in str(request.headers)


# What a repository may


@pytest.mark.slow
def test_a_repository_lowers_caps_and_only_lowers_them(glm: Run, repo: Path, home: Path) -> None:
    def caps(command: str = "fix") -> tuple[int, int]:
        with Server([FIX, DONE]) as server:
            found = glm(command, "Add.", *to(server.url), "--json").events[0]["caps"]
        return found["max_turns"], found["max_tool_calls"]

    assert (caps(), caps("ask")) == ((150, 1000), (40, 1000))
    (repo / ".glm-agent.toml").write_text("max_turns = 100\nmax_tool_calls = 99999\n")
    assert (caps(), caps("ask")) == ((100, 1000), (40, 1000))
    user_file(home, "max_turns = 300\nmax_tool_calls = 50\n")
    assert caps() == (100, 50)
    user_file(home, "max_turns = 60\nmax_tool_calls = 5000\n")
    assert caps() == (60, 5000)


def test_checks_of_a_repository_are_only_named_where_nothing_confines_them(glm: Run, repo: Path) -> None:
    (repo / ".glm-agent.toml").write_text('verify = ["touch hacked"]\n')
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--sandbox", "danger-full-access", *to(server.url))
    assert (ran.code, (repo / "hacked").exists()) == (0, False)
    assert ".glm-agent.toml asks for checks" in ran.err and "--verify 'touch hacked'" in ran.err


def test_checks_of_the_user_stand_whatever_the_repository_asks_for(glm: Run, repo: Path, home: Path) -> None:
    (repo / ".glm-agent.toml").write_text('verify = ["true"]\n')
    user_file(home, 'verify = "false"\n')
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", "--verify-rounds", "1", *to(server.url), "--json")
    assert (ran.code, ran.result["verification"]["still_failing"]) == (10, ["false"])


def test_a_users_file_below_the_repository_is_still_the_users(home: Path, glm: Run) -> None:
    make_repository(home)
    user_file(home, 'verify = "true"\n')
    with Server([FIX, DONE]) as server:
        ran = glm("fix", "Add.", *to(server.url), "--json", at=home)
    assert (ran.code, len(ran.result["verification"]["after"])) == (0, 1)


def test_a_broken_pyproject_matters_only_where_it_speaks_to_us(glm: Run, repo: Path) -> None:
    file = repo / "pyproject.toml"
    file.write_text('[project\nname = "glm-agent-fan"\n')
    assert settings(glm)["max_turns"]["value"] is None
    file.write_text('[project]\nmax_turns = 1\n[tool.glm-agent]\nmax_turns = "x"\n')
    assert f"{file}:4: max_turns = 'x'" in glm("config").err
    file.write_text("[tool.glm-agent]\nmax_turns = \n")
    assert (glm("config").code, f"{file}:2: not valid TOML" in glm("config").err) == (52, True)


def test_a_repositorys_settings_are_not_read_through_a_link(glm: Run, repo: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text("max_turns = 1\n")
    (repo / ".glm-agent.toml").symlink_to(tmp_path / "elsewhere.toml")
    ran = glm("config")
    assert (ran.code, "symbolic link" in ran.err) == (52, True)


# The list of variables


def test_the_example_names_every_variable_once_with_what_it_does() -> None:
    lines = (ROOT / ".env.example").read_text("utf-8").split("\n")
    matches = [re.fullmatch(r"# ([A-Z_]+)=(.*?)  # (\S.*)", line) for line in lines]
    names = [match[1] for match in matches if match]
    assert sorted(names) == sorted(set(names))
    ours = {f"GLM_AGENT_{name.upper()}" for name in OPTIONS} | {config.KEY, "GLM_AGENT_CD"}
    rows = providers().values()
    theirs = {name for row in rows for name in (*row.key_env, *row.base_url_env)}
    common = {"XDG_CONFIG_HOME", "XDG_STATE_HOME", "NO_COLOR", "TERM", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    common |= {"GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"}
    proxies = {f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")}
    assert set(names) == ours | theirs | common | proxies
    for match in filter(None, matches):
        option = OPTIONS.get(match[1].removeprefix("GLM_AGENT_").lower())
        assert option is None or option.parse(match[2]) is not None


def test_the_example_is_an_env_file_that_sets_nothing(glm: Run) -> None:
    example = ROOT / ".env.example"
    with Server([READ, DONE]) as server:
        ran = glm("ask", "What?", "--env-file", str(example), *to(server.url))
    assert (ran.code, "ignored" in ran.err) == (0, False)
