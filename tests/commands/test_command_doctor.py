from __future__ import annotations

import json
import stat
import time
import tomllib
from pathlib import Path

import pytest
from hosts import DEAF, NO_TOOLS, STRICT, VLLM, ZAI, Habits, Host
from running import ROOT, Ran, Run, finish, git, start, to

from glm_agent.commands.checks import check_clock
from glm_agent.commands.interview import MOST
from glm_agent.replay import Server
from glm_agent.types import Json

KEY = "sk-0123456789abcdef"


def found(ran: Ran) -> dict[str, Json]:
    """The checks of `--json`, by their names."""
    data = json.loads(ran.out)
    assert (data["exit_code"], data["subtype"] == "success") == (ran.code, ran.code == 0)
    assert ran.err == ""
    failed = [row for row in data["checks"] if row["status"] == "fail"]
    assert bool(failed) is (ran.code != 0)
    assert all(row["next"] for row in data["checks"] if row["status"] != "ok")
    rows = {row["name"]: row for row in data["checks"]}
    assert len(rows) == len(data["checks"])
    return rows


def row(ran: Ran) -> Json:
    (table,) = tomllib.loads(json.loads(ran.out)["live"]["row"])["providers"].values()
    return table


# This machine


def test_all_is_looked_at_and_said_line_by_line(
    glm: Run, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZAI_API_KEY", KEY)
    ran = glm("doctor")
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split(None, 2) for line in ran.out.split("\n") if line and not line.startswith(" ")]
    names = ["python", "libraries", "git", "repository", "sandbox", "terminal", "config"]
    names += ["provider", "key", "state", "network", "clock"]
    assert [words[1] for words in lines] == names
    assert {words[0] for words in lines} <= {"ok", "warn"}
    said = {words[1]: words[2] for words in lines}
    assert said["repository"].startswith(f"{repo}: main at ") and said["repository"].endswith(", clean")
    assert said["key"] == "in ZAI_API_KEY, from the environment"
    assert said["provider"] == "zai at https://api.z.ai/api/paas/v4 (default), model glm-4.7"
    assert said["sandbox"].startswith("tier A: namespaces with a root of their own, Landlock ABI ")
    assert said["sandbox"].endswith("; file tools are kept to the repository by the kernel too")
    assert KEY not in ran.out


def test_without_a_key_it_is_41_and_says_which(glm: Run) -> None:
    ran = glm("doctor", "--json", "--provider", "deepinfra")
    assert (ran.code, found(ran)["key"]) == (
        41,
        {
            "name": "key",
            "status": "fail",
            "found": "no key for deepinfra",
            "next": "set GLM_AGENT_API_KEY or DEEPINFRA_API_KEY (get one at deepinfra.com/dash/api_keys); "
            "`glm-agent demo` needs none",
            "subtype": "error_auth",
        },
    )


def test_a_key_from_a_file_that_others_read_is_a_warning(glm: Run, config_file: Path) -> None:
    keys = config_file.with_name(".env")
    keys.write_text(f"ZAI_API_KEY={KEY}\nZAI_BASE_URL=http://thief.example\n")
    keys.chmod(0o644)
    ran = glm("doctor", "--json")
    checks = found(ran)
    assert (ran.code, checks["key"]["status"], checks["key"]["next"]) == (0, "warn", f"chmod 600 {keys}")
    assert checks["key"]["found"] == f"in ZAI_API_KEY, from {keys}, which others may read (mode 644)"
    assert "ZAI_BASE_URL in an env file is ignored" in checks["config"]["found"]
    keys.chmod(0o600)
    assert found(glm("doctor", "--json"))["key"]["status"] == "ok"
    assert KEY not in ran.out


def test_it_works_where_there_is_no_repository(glm: Run, tmp_path: Path) -> None:
    ran = glm("doctor", "--json", *to("http://127.0.0.1:9/v1"), at=tmp_path)
    assert (ran.code, found(ran)["repository"]["status"]) == (0, "warn")
    assert "git init" in found(ran)["repository"]["next"]
    git(tmp_path, "init", "--quiet", "--bare", "bare.git")
    ran = glm("doctor", "--json", *to("http://127.0.0.1:9/v1"), at=tmp_path / "bare.git")
    assert "is a bare repository" in found(ran)["repository"]["found"]


def test_a_repository_that_a_run_would_refuse_is_45(glm: Run, repo: Path) -> None:
    (repo / ".git" / "MERGE_HEAD").write_text("0" * 40 + "\n")
    ran = glm("doctor", "--json", *to("http://127.0.0.1:9/v1"))
    way_on = "finish or abort it first, or --allow-merge to edit its files and leave the rest to you"
    assert (ran.code, found(ran)["repository"]["next"]) == (45, way_on)
    assert glm("doctor", "--json", *to("http://127.0.0.1:9/v1"), at=repo / "missing").code == 45


def test_a_broken_configuration_is_a_check_and_the_others_still_speak(glm: Run, config_file: Path) -> None:
    config_file.write_text("\nquiet = 3\n")
    ran = glm("doctor", "--json", *to("http://127.0.0.1:9/v1"))
    checks = found(ran)
    assert (ran.code, checks["config"]["found"]) == (
        52,
        f"{config_file}:2: quiet = 3: expected true or false",
    )
    assert (checks["provider"]["status"], checks["key"]["status"]) == ("ok", "ok")
    assert found(glm("doctor", "--json", "--bare", *to("http://127.0.0.1:9/v1")))["config"]["status"] == "ok"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--provider", "zia"), "did you mean zai?"),
        (("-m", "gpt-9"), "zai has no model 'gpt-9'"),
        (("--provider", "custom"), "needs --base-url"),
        (("--provider", "custom", "--base-url", "http://me:secret1@h"), "scheme, host and path only"),
    ],
    ids=str,
)
def test_a_provider_that_cannot_be_asked_is_2(glm: Run, words: tuple[str, ...], says: str) -> None:
    ran = glm("doctor", "--json", "--live", *words)
    check = found(ran)["provider"]
    assert says in f"{check['found']}; {check['next']}" and "secret1" not in ran.out
    assert json.loads(ran.out)["live"]["cost"].startswith("nothing was sent: provider")


def test_code_and_key_in_the_clear_are_a_warning_where_the_user_wants_that(glm: Run) -> None:
    words = ("doctor", "--json", *to("http://gpu.example/v1"))
    refused = glm(*words)
    assert (refused.code, found(refused)["provider"]["status"]) == (2, "fail")
    far = found(glm(*words, "--insecure-http"))["provider"]
    assert (far["status"], far["next"]) == ("warn", "use https, or a tunnel")
    for near in ("localhost:1", "127.0.0.1:1", "[::1]:1"):
        assert found(glm("doctor", "--json", *to(f"http://{near}/v1")))["provider"]["status"] == "ok"


def test_proxies_and_certificates_of_the_environment_are_shown_without_passwords(
    glm: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)
    quiet = ("doctor", "--json", *to("http://127.0.0.1:9/v1"))
    assert found(glm(*quiet))["network"]["found"] == "no proxy and no certificates named"
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret1@proxy:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    ran = glm(*quiet)
    assert found(ran)["network"]["found"] == "HTTPS_PROXY=http://***@proxy:3128; no_proxy=localhost"
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert found(glm(*quiet))["network"]["next"] == "unset SSLKEYLOGFILE"
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    ran = glm(*quiet)
    assert (ran.code, found(ran)["network"]["subtype"]) == (52, "error_config")
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("HTTPS_PROXY", "gopher://proxy")
    assert "HTTPS_PROXY is no proxy that can be used" in found(glm(*quiet))["network"]["found"]


def test_a_state_directory_that_others_read_or_nobody_writes_is_said(
    glm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = tmp_path / "glm-agent"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    quiet = ("doctor", "--json", *to("http://127.0.0.1:9/v1"))
    assert found(glm(*quiet))["state"]["next"] == f"chmod 700 {folder}"
    folder.rmdir()
    folder.write_text("")
    ran = glm(*quiet)
    assert (ran.code, found(ran)["state"]["subtype"]) == (45, "error_repository")


@pytest.mark.slow
def test_imports_from_the_folder_that_is_worked_in_are_a_warning(repo: Path) -> None:
    words = ("doctor", "--json", *to("http://127.0.0.1:9/v1"))
    ran = finish(start(repo, *words, env={"PYTHONPATH": f"{repo}:{ROOT}"}))
    assert found(ran)["python"]["status"] == "warn"
    assert found(finish(start(repo, *words)))["python"]["status"] == "ok"  # though python -m puts it first


def test_nothing_is_sent_and_no_library_that_sends_is_loaded_without_live(repo: Path) -> None:
    with Host(ZAI) as host:
        words = ("doctor", "--json", *to(host.url))
        ran = finish(start(repo, *words, env={"PYTHONPROFILEIMPORTTIME": "1"}))
        assert (ran.code, host.requests) == (0, [])
    names = {line.rpartition("|")[2].strip() for line in ran.err.split("\n")}
    assert "glm_agent.commands.checks" in names
    assert names & {"openai", "httpx2", "rich", "unidiff", "asyncio", "concurrent.futures"} == set()


# What the endpoint does


CACHED = "1000 of 1100 tokens of a prompt were cached at its second time"


def live(glm: Run, host: Server, *words: str) -> Ran:
    return glm("doctor", "--live", "--json", "-m", "lab-1", *to(host.url), *words)


ROWS: dict[str, tuple[Habits, Json, dict[str, str]]] = {
    "zai": (
        ZAI,
        {"tool_stream": True, "usage_option": False},
        {
            "streaming": "text comes piece by piece",
            "tools": "3 of 3 calls came in one reply",
            "arguments": "arguments come whole; in fragments with tool_stream",
            "usage": f"reported unasked; {CACHED}",
            "thinking": "thinks unasked, reasoning comes as reasoning_content; switched off by thinking",
            "reasoning": "taken back as reasoning_content, and read",
            "json": "response_format json_object gives JSON",
            "limits": "x-ratelimit-remaining-requests: 41",
        },
    ),
    "vllm": (
        VLLM,
        {"thinking": "chat_template_kwargs", "keeps_thinking": False, "thought_field": "reasoning"},
        {
            "arguments": "arguments come in fragments; without tool_stream",
            "usage": f"reported if asked by stream_options; {CACHED}",
            "thinking": "thinks unasked, reasoning comes as reasoning; switched off by chat_template_kwargs",
            "reasoning": "taken back as reasoning, and read",
        },
    ),
    "no tools": (
        NO_TOOLS,
        {"thinking": "none", "keeps_thinking": False, "usage_option": False},
        {
            "tools": "refused: this model does not support tools",
            "arguments": "not found out; tool_stream was not tried",
            "usage": "not reported, and stream_options is refused",
            "json": "response_format json_object is refused",
        },
    ),
    "deaf": (
        DEAF,
        {"thinking": "none", "keeps_thinking": False, "usage_option": False},
        {
            "streaming": "text comes all at once",
            "tools": "accepted, but no call came",
            "usage": "not reported",
            "thinking": "does not think unasked; not switched on by thinking, chat_template_kwargs, "
            "enable_thinking, reasoning_effort, reasoning",
            "json": "response_format json_object is accepted, and does not give JSON",
            "limits": "the host says nothing of its limits",
        },
    ),
    "strict": (
        STRICT,
        {
            "thinking": "none",
            "keeps_thinking": False,
            "thought_field": "reasoning",
            "max_tokens": "max_completion_tokens",
        },
        {
            "tools": "1 of 3 calls came in one reply",
            "arguments": "arguments come whole; tool_stream is refused",
            "thinking": "thinks unasked, reasoning comes as reasoning; not switched off by thinking; "
            "not tried: chat_template_kwargs, enable_thinking, reasoning_effort, reasoning",
            "reasoning": "accepted as reasoning, but nothing of it was seen in the next answer",
        },
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_an_endpoint_does_becomes_checks_and_a_row(glm: Run, name: str) -> None:
    habits, expected, said = ROWS[name]
    with Host(habits) as host:
        ran = live(glm, host)
        assert len(host.requests) <= MOST
        assert row(ran) == {"base_url": host.url, "default_model": "lab-1", **expected}
    checks = found(ran)
    assert {part: checks[part]["found"] for part in said} == said
    assert ran.code == (2 if name == "no tools" else 0)


def test_a_known_host_keeps_what_its_row_says_of_the_rest(glm: Run) -> None:
    with Host(ZAI) as host:
        ran = glm("doctor", "--live", "--json", "--provider", "vllm", "--base-url", host.url)
    assert row(ran) == {
        "base_url": host.url,
        "default_model": "glm-4.7",
        "keeps_thinking": False,
        "thought_field": "reasoning",
        "tool_stream": True,
        "usage_option": False,
    }


@pytest.mark.parametrize(
    ("status", "error", "code", "says"),
    [
        (401, {"error": {"code": "1002", "message": "Authorization Token invalid"}}, 41, "check the key"),
        (404, {"error": {"message": "no such path"}}, 2, "check -m and --base-url"),
        (429, {"error": {"code": "1113", "message": "Insufficient balance"}}, 41, "recharge the account"),
        (
            429,
            {"error": {"code": "1302", "message": "High concurrency usage"}},
            75,
            "end other runs with this key",
        ),
        (500, {"error": {"message": "oops"}}, 75, "try again later"),
    ],
)
def test_an_endpoint_that_does_not_answer_ends_with_its_own_code(
    glm: Run, status: int, error: Json, code: int, says: str
) -> None:
    with Host(ZAI, status=status, error=error) as host:
        ran = live(glm, host)
        assert len(host.requests) == 1
    check = found(ran)["answers"]
    assert (ran.code, says in check["next"], json.loads(ran.out)["live"]["row"]) == (code, True, None)


def test_a_clock_that_is_wrong_is_said(glm: Run) -> None:
    assert check_clock(time.time()).status == "ok"
    wrong = check_clock(time.time() - 3600)
    assert (wrong.status, wrong.found.partition(", ")[2]) == ("warn", "3600 s ahead of the host's")
    with Host(ZAI) as host:
        assert found(live(glm, host))["clock"]["found"].endswith(", as the host's")


def test_a_key_that_a_host_repeats_is_not_shown(
    glm: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_SECRET", KEY)
    with Host(ZAI, status=401, error={"error": {"message": f"no such key: {KEY}"}}) as host:
        config_file.write_text(f'[providers.lab]\nbase_url = "{host.url}"\nkey_env = "LAB_SECRET"\n')
        for words in ((), ("--json",)):
            ran = glm("doctor", "--live", "--provider", "lab", *words)
            assert (ran.code, KEY in ran.out, "no such key: [key]" in ran.out) == (41, False, True)


def test_the_cost_is_said_where_a_price_is_known(glm: Run, config_file: Path) -> None:
    config_file.write_text('[models."lab-1"]\nprice.custom = [1, 0.5, 2]\n')
    with Host(ZAI) as host:
        cost = json.loads(live(glm, host).out)["live"]["cost"]
    assert cost.startswith("6 requests, 6600 tokens in, 300 out, $0.00")


# The row


def test_a_saved_row_is_a_provider_that_works(
    glm: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", KEY)
    config_file.parent.rmdir()
    with Host(VLLM) as host:
        ran = live(glm, host, "--save", "lab")
        assert (ran.code, json.loads(ran.out)["live"]["saved"]) == (0, str(config_file))
        assert stat.S_IMODE(config_file.stat().st_mode) == 0o600
        again = glm("doctor", "--live", "--json", "--provider", "lab")
        assert (again.code, found(again)["provider"]["found"].split()[0]) == (0, "lab")
        assert {**row(again)} == {**row(ran)}
        before = len(host.requests)
        assert glm("ask", "Why?", "--provider", "lab", "--no-thinking").code == 0
        (asked,) = host.requests[before:]
    assert asked.body["model"] == "lab-1"
    assert asked.body["chat_template_kwargs"] == {"enable_thinking": False}
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in config_file.read_text() and KEY not in ran.out


def test_what_was_in_the_file_stays_and_no_row_is_replaced(
    glm: Run, config_file: Path, tmp_path: Path
) -> None:
    own = tmp_path / "dotfiles.toml"
    own.write_text("# mine\nquiet = true")
    config_file.symlink_to(own)
    with Host(ZAI) as host:
        assert live(glm, host, "--save", "lab").code == 0
        saved = own.read_text()
        assert (
            saved.startswith("# mine\nquiet = true\n\n[providers.lab]\nbase_url = ")
            and config_file.is_symlink()
        )
        asked = len(host.requests)
        for name in ("lab", "zai", "a b"):
            ran = live(glm, host, "--save", name)
            assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert len(host.requests) == asked
    assert own.read_text() == saved
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_file_that_cannot_take_a_row_stays_as_it_is(glm: Run, config_file: Path) -> None:
    text = 'providers = { old = { base_url = "http://h/v1" } }\n'
    config_file.write_text(text)
    with Host(ZAI) as host:
        ran = live(glm, host, "--save", "lab")
    assert (ran.code, config_file.read_text()) == (52, text)
    assert found(ran)["save"]["found"] == f"{config_file}: [providers.lab] cannot stand at its end"
    assert row(ran)["base_url"] == host.url  # it was paid for


def test_save_without_live_makes_no_sense(glm: Run) -> None:
    ran = glm("doctor", "--save", "lab")
    assert (ran.code, ran.out) == (2, "")
    assert "--live" in ran.err


def test_a_model_with_a_name_that_no_row_may_hold_is_left_out_of_it(glm: Run, config_file: Path) -> None:
    with Host(ZAI) as host:
        ran = glm("doctor", "--live", "--json", "-m", "my model", *to(host.url), "--save", "lab")
        assert (ran.code, "default_model" in row(ran)) == (0, False)
        assert glm("doctor", "--json", "--provider", "lab").code == 0


def test_a_home_that_is_none_is_a_check_too(glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "here")
    ran = glm("doctor", "--json", *to("http://127.0.0.1:9/v1"))
    assert (ran.code, found(ran)["config"]["subtype"], found(ran)["state"]["status"]) == (
        52,
        "error_config",
        "fail",
    )


def test_text_shows_the_row_and_the_next_steps(glm: Run) -> None:
    with Host(NO_TOOLS) as host:
        ran = glm("doctor", "--live", "-m", "lab-1", *to(host.url))
    assert (ran.code, ran.err) == (2, "")
    assert "\nfail  tools       refused: this model does not support tools\n" in ran.out
    assert "  -> choose a model, or a way of serving it, that calls tools" in ran.out
    assert f'\n[providers.mine]\nbase_url = "{host.url}"\n' in ran.out
