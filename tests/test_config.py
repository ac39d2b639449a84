from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent import config
from glm_agent.dialects import find_provider
from glm_agent.errors import AgentError, AuthError, ConfigError, RepositoryError, UsageError
from glm_agent.settings import OPTIONS, Settings

VALUES: dict[str, tuple[str, object]] = {
    "provider": ("zai", "zai"),
    "model": ("glm-4.6", "glm-4.6"),
    "base_url": ("http://h/v1", "http://h/v1"),
    "thinking": ("no", False),
    "lean_thinking": ("0", False),
    "effort": ("max", "max"),
    "temperature": ("0.5", 0.5),
    "max_tokens": ("100", 100),
    "insecure_http": ("1", True),
    "output_format": ("json", "json"),
    "include_partial_messages": ("1", True),
    "output_last_message": ("a", "a"),
    "patch": ("p", "p"),
    "dry_run": ("1", True),
    "worktree": ("1", True),
    "attempts": ("3", 3),
    "commit": ("1", True),
    "branch": ("b", "b"),
    "run_hooks": ("1", True),
    "max_turns": ("5", 5),
    "max_wall_time": ("2m", 120.0),
    "max_total_tokens": ("9000", 9000),
    "max_budget_usd": ("0.25", 0.25),
    "max_tool_calls": ("6", 6),
    "timeout_connect": ("0.5", 0.5),
    "timeout_headers": ("90s", 90.0),
    "timeout_first": ("5m", 300.0),
    "timeout_idle": ("2.5s", 2.5),
    "timeout_turn": ("1h", 3600.0),
    "sandbox": ("workspace-write", "workspace-write"),
    "sandbox_tier": ("A", "A"),
    "sandbox_read": ("/a\n/b", ("/a", "/b")),
    "network": ("true", True),
    "allow_secrets": ("*.pem", ("*.pem",)),
    "allow_path": ("a\nb", ("a", "b")),
    "only": ("src/**\ndocs", ("src/**", "docs")),
    "protect": ("tests", ("tests",)),
    "max_diff_lines": ("0", 0),
    "allow_binary": ("1", True),
    "keep": ("yes", True),
    "yolo": ("true", True),
    "verify": ("make a\nmake b", ("make a", "make b")),
    "verify_timeout": ("1h", 3600.0),
    "verify_rounds": ("2", 2),
    "allow_empty": ("on", True),
    "verify_junit": ("a.xml\nb", ("a.xml", "b")),
    "known_failures": ("yes", True),
    "flaky_runs": ("3", 3),
    "report": ("md=a.md\njunit=b.xml", ("md=a.md", "junit=b.xml")),
    "record": ("r.jsonl", "r.jsonl"),
    "from_report": ("a.json\nb.xml", ("a.json", "b.xml")),
    "allow_merge": ("on", True),
    "allow_fork": ("on", True),
    "json_schema": ('{"type": "object"}', '{"type": "object"}'),
    "agents_md": ("off", False),
    "append_system_prompt": ("Be kind.", "Be kind."),
    "bare": ("1", True),
    "env_file": ("/dev/null", "/dev/null"),
    "prompt_file": ("t", "t"),
    "stdin": ("0", False),
    "ephemeral": ("1", True),
    "quiet": ("1", True),
    "verbose": ("1", True),
    "debug_file": ("d", "d"),
    "color": ("never", "never"),
}


def loaded(folder: Path, text: str = "", start: dict[str, str] | None = None, **flags: object) -> Settings:
    """With `text` as the repository's file."""
    (folder / config.REPOSITORY_FILE).write_text(text)
    return config.load(flags, folder, folder, start or {})


def user_file(home: Path, text: str) -> None:
    (home / ".config/glm-agent").mkdir(parents=True, exist_ok=True)
    (home / ".config/glm-agent/config.toml").write_text(text)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_can_be_set_by_its_variable(name: str, tmp_path: Path) -> None:
    text, value = VALUES[name]
    if name == "env_file":
        (tmp_path / "keys").touch()
        text = value = str(tmp_path / "keys")
    found = loaded(tmp_path, "", {f"GLM_AGENT_{name.upper()}": text})
    assert getattr(found, name) == value
    assert found.origins == {name: f"environment GLM_AGENT_{name.upper()}"}


def test_flags_win_over_environment_over_repository_over_user(tmp_path: Path, home: Path) -> None:
    user_file(home, 'model = "user"\nmax_turns = 9\neffort = "low"\ncolor = "never"\n')
    start = {"GLM_AGENT_MAX_TURNS": "7", "GLM_AGENT_EFFORT": "high"}
    found = loaded(tmp_path, 'model = "repository"\nmax_turns = 8\n', start, effort="max")
    assert (found.model, found.max_turns, found.effort, found.color) == ("repository", 7, "max", "never")


def test_globs_of_a_repository_hold_besides_those_of_the_user(tmp_path: Path, home: Path) -> None:
    user_file(home, 'protect = "tests/**"\nonly = ["src"]\nmax_diff_lines = 9\n')
    text = 'protect = ["*.lock"]\nonly = "src/app"\nmax_diff_lines = 20\n'
    found = loaded(tmp_path, text, {}, only=["lib"])
    assert (found.protect, found.only, found.max_diff_lines) == (("tests/**",), ("lib",), 9)
    assert found.demands == {"protect": ("*.lock",), "only": ("src/app",)}


def test_flags_that_were_not_given_say_nothing(tmp_path: Path) -> None:
    start = {"GLM_AGENT_VERIFY": "make", "GLM_AGENT_QUIET": "1"}
    found = loaded(tmp_path, "", start, verify=None, quiet=None, json=False)
    assert (found.verify, found.quiet, found.output_format) == (("make",), True, "text")


def test_the_environment_can_lift_what_a_repository_lowered(tmp_path: Path) -> None:
    assert loaded(tmp_path, "max_turns = 3\n", {}, max_turns="500").max_turns == 500


def test_a_value_that_is_wrong_is_a_usage_error_only_as_a_flag(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--effort 'much': expected low, high or max"):
        loaded(tmp_path, effort="much")
    with pytest.raises(ConfigError, match="environment variable GLM_AGENT_EFFORT='much'"):
        loaded(tmp_path, "", {"GLM_AGENT_EFFORT": "much"})


def test_reporting_an_error_uses_what_can_be_read() -> None:
    start = {"GLM_AGENT_QUIET": "1", "GLM_AGENT_COLOR": "pink"}
    found = config.fallback({"max_turns": "many", "verbose": True, "json": True, "cd": "/x"}, start)
    assert found == Settings(quiet=True, verbose=True, output_format="stream-json")


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("A=b", {"A": "b"}),
        ("  export A = b  ", {"A": "b"}),
        ("A='b c' # d", {"A": "b c"}),
        ('A="b#c"', {"A": "b#c"}),
        ("A=b#c", {"A": "b#c"}),
        ("A=b # c", {"A": "b"}),
        ("A=", {"A": ""}),
        ('A="b', {"A": '"b'}),
        ("A=$HOME`x`", {"A": "$HOME`x`"}),
        ("# A=b", {}),
        ("A=b\r", {"A": "b"}),
        ("A=b=c", {"A": "b=c"}),
    ],
)
def test_lines_of_an_env_file(line: str, pair: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes(f"{line}\n".encode())
    assert loaded(tmp_path, env_file=str(tmp_path / "env")).environment == pair


@given(st.text(alphabet="AB=#'\" \t\r\nexport", max_size=40))
def test_an_env_file_of_any_lines_is_read_or_refused_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "lines.env"
    file.write_bytes(text.encode())
    try:
        found = config.load({"env_file": str(file)}, file.parent, file.parent, {}).environment
    except ConfigError as error:
        assert str(error).startswith(f"{file}:") and str(error).endswith(": expected NAME=VALUE")
    else:
        assert all(name.isidentifier() for name in found)


@given(st.binary(max_size=60))
def test_a_repositorys_file_of_any_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "bytes"
    folder.mkdir(exist_ok=True)
    (folder / config.REPOSITORY_FILE).write_bytes(data)
    try:
        found = config.load({}, folder, folder, {})
    except ConfigError as error:
        assert str(error).startswith(f"{folder / config.REPOSITORY_FILE}:")
    else:
        assert found.origins == {}


def test_the_first_variable_with_a_key_counts_and_blanks_are_none() -> None:
    zai = find_provider("zai")
    found = Settings(environment={"GLM_AGENT_API_KEY": " ", "ZAI_API_KEY": " k1 \n", "ZHIPU_API_KEY": "k2"})
    assert config.find_key(found, zai) == ("k1", "ZAI_API_KEY")
    assert config.find_key(Settings(), find_provider("custom")) is None
    with pytest.raises(AuthError, match="set GLM_AGENT_API_KEY or OPENROUTER_API_KEY"):
        config.find_key(Settings(), find_provider("openrouter"))


def test_relative_directories_of_the_user_are_ignored(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "config")
    assert config.config_home() == home / ".config/glm-agent"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/xdg")
    assert config.config_home() == Path("/etc/xdg/glm-agent")
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(ConfigError, match="HOME is 'relative', which is no absolute path"):
        config.state_home()


def test_a_folder_to_run_in_comes_from_flag_else_environment_else_here(tmp_path: Path) -> None:
    start = {"GLM_AGENT_CD": str(tmp_path)}
    assert config.working_folder(None, start) == tmp_path.resolve()
    assert config.working_folder("/", start) == Path("/")
    assert config.working_folder(None, {}) == Path.cwd()
    for wrong in ("no\0", "/dev/null", "x" * 5000):
        with pytest.raises(RepositoryError):
            config.working_folder(wrong, {})


def test_an_error_never_holds_two_lines(tmp_path: Path) -> None:
    for text in ("a = 'x\ny'", '"a\\nb" = 1', "model = '''\n\n'''"):
        with pytest.raises(AgentError) as caught:
            loaded(tmp_path, text)
        assert "\n" not in str(caught.value)


NEAR = (
    "http://localhost/v1",
    "HTTP://LocalHost:1",
    "http://127.0.0.1:8000/v1",
    "http://127.9.9.9",
    "http://[::1]:1/v1",
)
FAR = (
    *(
        "http://gpu/v1",
        "http://192.168.0.5:8000/v1",
        "http://10.0.0.1",
        "HTTP://host/v1",
        "http://[fe80::1]/v1",
    ),
    *("http://localhost.evil.example/v1", "http://127.0.0.1.evil.example", "http://evil.example/localhost/"),
)


@pytest.mark.parametrize("url", [*NEAR, *FAR, "https://host/v1", "http://0.0.0.0:8000/v1"])
def test_what_leaves_this_machine_is_encrypted_or_insisted_on(url: str, tmp_path: Path) -> None:
    assert config.is_private(url) == (url not in FAR)
    if url in FAR:
        for origin, problem in (
            ("flag", UsageError),
            ("environment A", ConfigError),
            ("default", ConfigError),
        ):
            with pytest.raises(
                problem, match="go there unencrypted; use https, or a tunnel, or --insecure-http"
            ):
                config.require_privacy(Settings(), url, origin)
    config.require_privacy(Settings(insecure_http=True), url, "flag")


def test_a_repository_cannot_insist_on_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a repository may not set insecure_http"):
        loaded(tmp_path, "insecure_http = true")
