"""Rows of providers and models in the user's file, seen from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import HERE, Run, refused

PROVIDER = '# mine\n[providers.lab]\nbase_url = "http://lab/v1"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[providers.lab]\nbase_url = \n", "2: not valid TOML: Invalid value (at line 2, column 12)"),
        ("[providers.lab\n", "1: not valid TOML: "),
        ("[providers.lab]\n[providers.lab]\n", "2: not valid TOML: "),
        ('[providers.lab]\nbase_url = "lab:8000/v1"\n', "2: providers.lab.base_url: expected a URL like"),
        ('[providers.lab]\nbase_url = "//lab/v1"\n', "2: providers.lab.base_url: expected a URL like"),
        ('[providers.lab]\nbase_url = "ftp://lab/v1"\n', "2: providers.lab.base_url: expected a URL like"),
        (
            '[providers.lab]\nbase_url = "http://me:secret1@lab/v1"\n',
            "2: providers.lab.base_url: expected a URL",
        ),
        (
            '[providers.lab]\nbase_url = "http://lab:99999/v1"\n',
            "2: providers.lab.base_url: expected a URL like",
        ),
        (
            '[providers.lab]\nbase_url = "http://lab/v1\\n"\n',
            "2: providers.lab.base_url: expected a URL like",
        ),
        (f'{PROVIDER}key_env = "LAB\\nKEY"\n', "4: providers.lab.key_env: expected names of environment"),
        (f'{PROVIDER}key_env = "sk-secret1"\n', "4: providers.lab.key_env: expected names of environment"),
        (f'{PROVIDER}key = "sk-secret1"\n', "4: providers.lab.key: no such column; did you mean key_env"),
        (
            f'{PROVIDER}headers = {{ "X-A\\nB" = "1" }}\n',
            r"4: providers.lab.headers.'X-A\nB': expected a header's",
        ),
        (
            f'{PROVIDER}headers = {{ X-A = "1\\nB" }}\n',
            "4: providers.lab.headers.X-A: expected a header's name",
        ),
        (
            f'{PROVIDER}headers = {{ Cookie = "secret1" }}\n',
            "4: providers.lab.headers.Cookie: a key belongs into",
        ),
        (
            '[providers."a\\nb"]\nbase_url = "http://lab/v1"\n',
            r"1: providers.'a\nb': a provider's name is made",
        ),
        (f"{PROVIDER}in_fligth = 2\n", "4: providers.lab.in_fligth: no such column; did you mean in_flight?"),
        (f"{PROVIDER}default_model = 3\n", "4: providers.lab.default_model: expected a model's name"),
        (
            "[models.a]\nprice.zai = [1, -1, 2]\n",
            "2: models.a.price.zai: expected three prices, none below 0",
        ),
        ("[models.a]\nwindow = -1\n", "2: models.a.window: expected a whole number, 1 or more"),
        ("[models.a]\nwidow = 1\n", "2: models.a.widow: no such column; did you mean window"),
        ("[models.a]\nprice.lab = [1, 1, 2]\n", "2: models.a.price.lab: no such provider"),
        ("[provider.lab]\n", "1: provider: a provider's rows stand in [providers.NAME]"),
        ("[model.a]\n", "1: model: a model's rows stand in [models.NAME]"),
        ('\nbase_url = "http://me:secret1@lab/v1"\n', "2: base_url: expected a URL like https://host/v1"),
    ],
    ids=ascii,
)
def test_a_bad_row_is_52_with_file_line_and_key(glm: Run, home: Path, text: str, says: str) -> None:
    file = home / ".config/glm-agent/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    refused(glm, "ask", "What?", *HERE, code=52, says=f"{file}:{says}")
    ran = glm("config")
    assert (ran.code, ran.out, ran.err.count("\n"), "secret1" in ran.err) == (52, "", 1, False)


@pytest.mark.parametrize("variable", ["GLM_AGENT_BASE_URL", "ZAI_BASE_URL"])
@pytest.mark.parametrize("command", [("ask", "What?"), ("config",)])
def test_a_base_url_of_the_environment_is_52_and_not_shown(
    command: tuple[str, ...], variable: str, glm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZAI_API_KEY", "sk-0123456789abcdef")
    monkeypatch.setenv(variable, "http://me:secret1@lab/v1")
    ran = glm(*command)
    assert ran.code == 52 and "secret1" not in ran.out + ran.err
    assert ran.err.startswith(f"glm-agent: environment variable {variable}: expected a URL like")


@pytest.mark.parametrize("table", ["[providers.lab]", "[models.a]", "[providers.zai]", "[provider.zai]"])
def test_a_repository_adds_and_overrides_no_row(glm: Run, repo: Path, table: str) -> None:
    row = 'base_url = "http://thief.example/v1"\n'
    (repo / ".glm-agent.toml").write_text(f"\n{table}\n{row}")
    name = table.strip("[]").partition(".")[0]
    refused(
        glm, "ask", "What?", code=52, says=f"{repo / '.glm-agent.toml'}:2: a repository may not set {name}"
    )
    (repo / ".glm-agent.toml").unlink()
    (repo / "pyproject.toml").write_text(
        f"[tool.glm-agent]\n\n{table.replace('[', '[tool.glm-agent.')}\n{row}"
    )
    refused(
        glm, "ask", "What?", code=52, says=f"{repo / 'pyproject.toml'}:3: a repository may not set {name}"
    )
