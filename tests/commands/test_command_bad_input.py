"""What cannot work is said in one line, before any request, with the same exit code in every format."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import CHECK, DONE, FIX, HERE, Run, call, contents, git, make_repository, refused, run, shell, to

from glm_agent.replay import Server

# The repository


def test_fix_without_a_repository_says_git_init(glm: Run, tmp_path: Path) -> None:
    refused(glm, "fix", "Add.", *HERE, code=45, says="git init", at=tmp_path)


def test_fix_in_a_bare_repository_says_so(glm: Run, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "bare.git")
    refused(glm, "fix", "Add.", *HERE, code=45, says="is a bare repository", at=tmp_path / "bare.git")


def test_fix_in_the_middle_of_a_merge_says_so(glm: Run, repo: Path) -> None:
    (repo / ".git" / "MERGE_HEAD").write_text("0" * 40 + "\n")
    refused(glm, "fix", "Add.", *HERE, code=45, says="in the middle of a merge")


def test_fix_where_git_cannot_read_the_repository_says_so(glm: Run, repo: Path) -> None:
    (repo / ".git" / "HEAD").write_text("nonsense\n")
    refused(glm, "fix", "Add.", *HERE, code=45, says="git")


def test_a_directory_to_run_in_must_be_one(glm: Run, repo: Path) -> None:
    refused(glm, "fix", "Add.", *HERE, code=45, says="No such file or directory", at=repo / "missing")
    refused(glm, "fix", "Add.", *HERE, code=45, says="not a directory", at=repo / "calc.py")


def test_a_current_directory_that_is_gone_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    ran = call(["ask", "What?", *HERE, "--json"], capfdbinary)
    assert ran.code == 45
    assert ran.result["errors"] == ["the current directory: cannot be entered: No such file or directory"]


# The task


@pytest.mark.parametrize("task", [[], [""], [" \n\t"]], ids=["none", "empty", "blank"])
@pytest.mark.parametrize(("command", "says"), [("fix", "nothing to do"), ("ask", "no question")])
def test_a_task_is_needed(glm: Run, command: str, says: str, task: list[str]) -> None:
    refused(glm, command, *task, *HERE, code=2, says=says)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"Add\0this.", "holds a NUL byte at offset 3"),
        (b"Add \xff this.", "is not valid UTF-8 at byte 4"),
        (b"x" * ((1 << 20) + 1), "is larger than 1 MiB"),
        (b" \n", "nothing to do"),
    ],
    ids=["nul", "latin-1", "huge", "blank"],
)
def test_a_prompt_file_must_hold_text(glm: Run, tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "task").write_bytes(data)
    refused(glm, "fix", "--prompt-file", str(tmp_path / "task"), *HERE, code=2, says=says)


def test_a_prompt_file_must_be_there(glm: Run, tmp_path: Path) -> None:
    refused(glm, "fix", "--prompt-file", str(tmp_path / "no"), *HERE, code=2, says="No such file")
    refused(glm, "fix", "--prompt-file", str(tmp_path), *HERE, code=2, says="Is a directory")


def test_a_prompt_file_is_never_waited_for(glm: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(glm, "fix", "--prompt-file", str(tmp_path / "pipe"), *HERE, code=2, says="no regular file")
    refused(glm, "fix", "--prompt-file", "/dev/zero", *HERE, code=2, says="is larger than 1 MiB")
    refused(glm, "fix", "--prompt-file", "/dev/null", *HERE, code=2, says="nothing to do")


@pytest.mark.slow
def test_a_prompt_may_come_through_a_pipe_that_has_a_name(repo: Path) -> None:
    with Server([DONE], strict=True) as server:
        ran = shell(repo, f"$GLM ask --prompt-file <(echo What?) {' '.join(to(server.url))}")
    assert (ran.code, server.requests[0].body["messages"][-1]["content"]) == (0, "What?\n")


def test_an_argument_that_is_not_utf_8_is_refused(repo: Path) -> None:
    ran = run(repo, "fix", os.fsdecode(b"Add \xff"), *HERE, "--json")
    assert (ran.code, ran.result["errors"]) == (2, ["the task is not valid UTF-8 at byte 4"])


# Flags


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--max-turns", "0"), "--max-turns '0': expected a whole number, 1 or more"),
        (("--max-turns", "-1"), "--max-turns '-1': expected a whole number"),
        (("--max-turns", "1e3"), "expected a whole number"),
        (("--max-turns", "9" * 30), "expected a whole number"),
        (("--max-tool-calls", "many"), "expected a whole number"),
        (("--max-tokens", "٣"), "expected a whole number"),
        (("--temperature", "nan"), "--temperature 'nan': expected a number from 0 to 2"),
        (("--temperature", "2.1"), "expected a number from 0 to 2"),
        (("--max-wall-time", "soon"), "--max-wall-time 'soon': expected a duration like 90s, 10m or 1h30m"),
        (("--max-wall-time", "0"), "expected a duration"),
        (("--max-wall-time", "-5"), "expected a duration"),
        (("--max-wall-time", "9999999999999h"), "expected a duration"),
        (("--append-system-prompt", " "), "--append-system-prompt ' ': expected a text"),
        (("--output-format", "text"), "give one of them"),
        (("-", "--no-stdin"), "--no-stdin"),
        (("Add.", "--prompt-file", "task"), "not both"),
        (("Add.", "-m", "glm-4.77", "--provider", "zai"), "did you mean glm-4.7"),
        (("Add.", "-m", "gpt-9", "--provider", "zai"), "zai has no model 'gpt-9'"),
        (("Add.", "--provider", "zia"), "unknown provider 'zia'; did you mean zai"),
        (("Add.", "--provider", "custom"), "needs --base-url"),
    ],
    ids=str,
)
def test_flags_that_make_no_sense(glm: Run, words: tuple[str, ...], says: str) -> None:
    ran = glm("ask", *words, "--json")
    assert (ran.code, ran.result["subtype"]) == (2, "error_usage")
    assert says in ran.result["errors"][0]
    assert ran.err == f"glm-agent: {ran.result['errors'][0]}\n"


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:8000", "ftp://h/v1", "http://", "http://h:99999/v1", "http://user:secret1@h/v1"),
        *("http://h/v1?x=1", "http://h/v1#x", " http://h/v1", "http://[::1/v1", "/v1"),
    ],
)
def test_a_base_url_must_be_one(glm: Run, url: str) -> None:
    ran = glm("ask", "What?", "--provider", "custom", "--base-url", url, "--json")
    assert (ran.code, ran.result["subtype"]) == (2, "error_usage")
    assert "--base-url" in ran.result["errors"][0] and "secret1" not in ran.out + ran.err


@pytest.mark.parametrize("words", [("--verify", ""), ("--verify", "a\0b")], ids=["empty", "nul"])
def test_a_check_must_be_a_command(glm: Run, words: tuple[str, ...]) -> None:
    refused(glm, "fix", "Add.", *words, *HERE, code=2, says="expected a text")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("fix", "--nope"), "No such option: --nope (Possible options: --model); see `glm-agent fix --help`"),
        (("fix", "a", "b"), "Got unexpected extra argument(s) (b); see `glm-agent fix --help`"),
        (("fix", "--effort", "enormous"), "is not one of 'low', 'high', 'max'; see `glm-agent fix --help`"),
        (("fix", "--max-turns"), "'--max-turns' requires an argument"),
        (("sessions",), "Missing command; see `glm-agent sessions --help`"),
        (("sessions", "show", "../../x"), "no session '../../x'"),
        (("schema", "nope"), "is not one of 'events', 'result'"),
    ],
    ids=str,
)
def test_a_command_line_that_cannot_be_read_is_one_line_and_2(
    words: tuple[str, ...], says: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    ran = call(list(words), capfdbinary)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("glm-agent: ") and says in ran.err


def test_an_unknown_command_is_one_line_and_2(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ran = call(["nope\x1b[2J"], capfdbinary)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("glm-agent: No such command 'nope") and "\x1b" not in ran.err


# The provider


def test_a_missing_key_says_which_where_and_what_needs_none(glm: Run) -> None:
    message = (
        "no key for zai: set GLM_AGENT_API_KEY or ZAI_API_KEY or ZHIPU_API_KEY "
        "(get one at z.ai/manage-apikey); `glm-agent demo` needs none"
    )
    refused(glm, "fix", "Add.", code=41, says=message)
    refused(glm, "ask", "What?", code=41, says=message)


@pytest.mark.parametrize("key", ["sk-se cret-key", "sk-secret\nx-key", "sk-secret-ключ"], ids=ascii)
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(
    glm: Run, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("ZAI_API_KEY", key)
    ran = glm("ask", "What?", "--json")
    assert (ran.code, "ZAI_API_KEY does not hold a key" in ran.result["errors"][0]) == (41, True)
    assert "sk-se" not in ran.out + ran.err


def test_a_key_of_one_provider_is_not_sent_to_another(glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZAI_API_KEY", "OPENROUTER_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-0123456789")
    with Server([DONE]) as server:
        assert glm("ask", "What?", *to(server.url)).code == 0
    assert "authorization" not in server.requests[0].headers
    assert "sk-0123456789" not in str(server.requests)


@pytest.fixture
def nobody() -> Iterator[str]:
    """A URL at which a connection is refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"


@pytest.mark.slow
def test_a_host_that_cannot_be_reached_is_75_after_some_tries(glm: Run, nobody: str) -> None:
    ran = glm("ask", "What?", *to(nobody), "--json")
    assert (ran.code, ran.result["subtype"]) == (75, "error_provider")
    assert "cannot reach 127.0.0.1:" in ran.result["errors"][0]
    assert [event["attempt"] for event in ran.events if event.get("subtype") == "retry"] == [1, 2, 3]


def test_a_host_that_is_busy_for_long_is_75(glm: Run) -> None:
    busy = {"fault": "status", "status": 429, "headers": {"Retry-After": "3600"}}
    with Server([busy], strict=True) as server:
        ran = glm("fix", "Add.", *to(server.url), "--json")
    assert (ran.code, ran.result["subtype"], len(server.requests)) == (75, "error_provider", 1)
    assert len(ran.result["errors"]) == 1  # that nothing was changed goes without saying


# Configuration


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = \n", ":1: not valid TOML"),
        ('\nmodel = "glm-4.7"\nmax_turns = "many"\n', ":3: max_turns = 'many': expected a whole number"),
        ("verbose = 3\n", ":1: verbose = 3: expected true or false"),
        ("\nverify-timeout = 3\n", ":2: verify-timeout cannot be set here; did you mean verify_timeout?"),
        ('api_key = "sk-1"\n', ":1: keys belong into"),
        ("model = '\udcff'\n", ":1: not valid UTF-8"),
        ("# " + "x" * (1 << 20), ": larger than 1 MiB"),
        ("a = " + "[" * 5000, ": not valid TOML: nested too deeply"),
    ],
    ids=["toml", "number", "type", "key", "secret", "bytes", "huge", "deep"],
)
def test_a_bad_configuration_is_52_with_file_and_line(glm: Run, home: Path, text: str, says: str) -> None:
    file = home / ".config/glm-agent/config.toml"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    refused(glm, "fix", "Add.", *HERE, code=52, says=f"{file}{says}")
    assert glm("fix", "", "--bare", *HERE).code == 2


@pytest.mark.parametrize("kind", ["directory", "fifo", "loop"])
def test_a_configuration_that_cannot_be_read_is_52(glm: Run, home: Path, kind: str) -> None:
    file = home / ".config/glm-agent/config.toml"
    file.parent.mkdir(parents=True)
    if kind == "directory":
        file.mkdir()
    elif kind == "fifo":
        os.mkfifo(file)
    else:
        file.symlink_to(file)
    refused(glm, "fix", "Add.", *HERE, code=52, says=str(file))


@pytest.mark.parametrize(
    "line",
    [
        *('base_url = "http://thief.example/v1"', 'api_key = "sk-1"', 'provider = "custom"', "yolo = true"),
        *("verify_timeout = 9", "agents_md = false", 'append_system_prompt = "x"', "headers = {}"),
        *('env_file = ".env"', 'patch = "x"', "ephemeral = true", 'sandbox = "danger-full-access"'),
    ],
)
@pytest.mark.parametrize("file", [".glm-agent.toml", "pyproject.toml"])
def test_a_repository_that_wants_to_widen_anything_is_52(glm: Run, repo: Path, file: str, line: str) -> None:
    head = "[tool.glm-agent]\n" if file == "pyproject.toml" else "\n"
    (repo / file).write_text(f"{head}{line}\n")
    name = line.partition(" ")[0]
    ran = glm("ask", "What?", *HERE, "--json")
    assert (ran.code, ran.result["subtype"]) == (52, "error_config")
    assert ran.result["errors"] == [
        f"{repo / file}:2: a repository may not set {name}; only a flag or your own file may"
    ]


@pytest.mark.parametrize(
    ("file", "head"), [(".glm-agent.toml", ""), ("pyproject.toml", "[tool.glm-agent]\n")]
)
def test_a_repository_s_settings_that_are_nested_without_end_are_52(
    glm: Run, repo: Path, file: str, head: str
) -> None:
    (repo / file).write_text(f"{head}a = {'[' * 5000}")
    refused(glm, "ask", "What?", *HERE, code=52, says=f"{repo / file}: not valid TOML: nested too deeply")


def test_a_directory_that_leads_to_itself_is_said(glm: Run, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    refused(glm, "ask", "What?", *HERE, code=45, says="cannot be entered", at=tmp_path / "loop")


def test_a_bad_variable_is_52(glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_AGENT_MAX_TURNS", "many")
    refused(glm, "fix", "Add.", *HERE, code=52, says="environment variable GLM_AGENT_MAX_TURNS='many'")


def test_an_env_file_must_be_there_and_readable(glm: Run, tmp_path: Path) -> None:
    refused(glm, "ask", "What?", "--env-file", str(tmp_path / "no"), *HERE, code=52, says="no such file")
    (tmp_path / "keys").write_text("A=b\nnonsense\n")
    refused(
        glm, "ask", "What?", "--env-file", str(tmp_path / "keys"), *HERE, code=52, says="keys:2: expected"
    )


def test_json_has_a_variable_too(glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_AGENT_JSON", "1")
    assert glm("fix", "Add.", "--max-turns", "0", *HERE).result["subtype"] == "error_usage"
    with Server([DONE]) as server:
        assert glm("ask", "What?", *to(server.url)).events[0]["subtype"] == "init"
    assert glm("fix", "", "--output-format", "text", *HERE).out == ""
    monkeypatch.setenv("GLM_AGENT_OUTPUT_FORMAT", "json")
    assert "set one of them" in glm("fix", "Add.", *HERE).result["errors"][0]
    monkeypatch.delenv("GLM_AGENT_OUTPUT_FORMAT")
    monkeypatch.setenv("GLM_AGENT_JSON", "perhaps")
    assert (ran := glm("fix", "Add.", *HERE)).code == 52
    assert "GLM_AGENT_JSON='perhaps': expected true or false" in ran.err


def test_json_may_be_asked_for_by_the_environment(glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_AGENT_OUTPUT_FORMAT", "json")
    ran = glm("fix", "Add.", "--max-turns", "0", *HERE)
    assert ran.events == [ran.result]


def test_a_refusal_leaves_no_trace_in_the_repository_or_at_home(tmp_path: Path, home: Path, glm: Run) -> None:
    other = make_repository(tmp_path / "other")
    before = contents(other)
    assert glm("fix", "", *HERE, at=other).code == 2
    assert glm("fix", "Add.", "--verify", CHECK, at=other).code == 41
    assert (contents(other), list(home.rglob("*"))) == (before, [])


def test_another_machine_is_not_asked_in_the_clear(glm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", "sk-in-the-clear-0123456789")
    says = "gpu.example:8000 is asked over http://, so that key and code would go there unencrypted"
    refused(glm, "ask", "Why?", *to("http://gpu.example:8000/v1"), code=2, says=says)
    monkeypatch.setenv("GLM_AGENT_BASE_URL", "http://gpu.example:8000/v1")
    refused(glm, "ask", "Why?", "--provider", "custom", code=52, says=says)


@pytest.mark.slow
def test_nobody_else_can_write_where_we_keep_things_whatever_the_umask_is(
    repo: Path, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.diff").write_text("--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+n\n")
    with Server([FIX, DONE]) as server:
        words = " ".join(("--sandbox danger-full-access", *to(server.url)))
        script = f'umask 000; $GLM apply ../a.diff && $GLM fix "Do it." {words} && $GLM undo'
        ran = shell(repo, script)
    assert (ran.code, ran.out.endswith("restored calc.py\n")) == (0, True), ran.err
    kept = home / ".local/state/glm-agent"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (*kept.parents[:2], kept, *kept.iterdir())}
    assert set(modes.values()) == {0o700}, modes
