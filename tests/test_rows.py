"""Providers and models of the user's own: from config.toml to a request, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent import config, dialects
from glm_agent.dialects import Wish, dialect, encode, find_model, find_provider, use_rows
from glm_agent.errors import ConfigError, UsageError
from glm_agent.rows import BadRow, Model, Provider
from glm_agent.types import User
from glm_agent.usage import Price


@pytest.fixture(autouse=True)
def no_rows_left_behind() -> Iterator[None]:
    yield
    use_rows({}, {})


def load(tmp_path: Path, **flags: object) -> None:
    config.load(flags, tmp_path, None, {})


def test_a_new_provider_starts_from_the_row_for_any_server(config_file: Path, tmp_path: Path) -> None:
    config_file.write_text('[providers.lab]\nbase_url = "http://lab:8000/v1"\nkey_env = "LAB_KEY"\n')
    load(tmp_path)
    assert find_provider("lab") == find_provider("custom")._replace(
        name="lab", title="lab", base_url="http://lab:8000/v1", key_env=("LAB_KEY",), key_needed=True
    )
    assert list(dialects.providers())[-1] == "lab"


def test_a_known_provider_keeps_the_columns_that_are_not_given(config_file: Path, tmp_path: Path) -> None:
    before = find_provider("vllm")
    config_file.write_text('[providers.vllm]\nbase_url = "http://gpu/v1"\nheaders = { X-Team = "a b" }\n')
    load(tmp_path)
    assert find_provider("vllm") == before._replace(base_url="http://gpu/v1", headers={"X-Team": "a b"})


def test_every_column_of_a_provider_can_be_given(config_file: Path, tmp_path: Path) -> None:
    config_file.write_text(
        '[providers.all]\ntitle = "All"\nbase_url = "https://all/v1"\nbase_url_env = ["ALL_URL"]\n'
        'key_env = ["A", "B"]\nkey_page = "all/keys"\nkey_needed = false\nmodel_prefix = "all-"\n'
        'model_ids = { "glm-4.7" = "best" }\nown_models = false\ndefault_model = "best"\n'
        'thinking = "reasoning_effort"\n'
        'thinking_sent = "always"\nkeeps_thinking = false\neffort = "reasoning"\n'
        'effort_words = { max = "ultra" }\n'
        'thought_field = "content"\ntool_stream = true\nusage_option = false\n'
        'max_tokens = "max_completion_tokens"\nin_flight = 7\nheaders = { "X-A" = "1" }\n'
    )
    load(tmp_path)
    row = find_provider("all")
    assert row == Provider(
        *("all", "All", "https://all/v1", ("ALL_URL",), ("A", "B"), "all/keys", False, "all-"),
        *(
            {"glm-4.7": "best"},
            False,
            "best",
            "reasoning_effort",
            "always",
            False,
            "reasoning",
            {"max": "ultra"},
        ),
        *("content", True, False, "max_completion_tokens", 7, {"X-A": "1"}, False),
    )
    found, notices = dialect(row, find_model(row, "glm-5.2"), "Hi", [], Wish(effort="max"))
    assert (encode([User("Go")], found), notices) == (
        {
            "model": "all-5.2",
            "messages": [{"role": "system", "content": "Hi"}, {"role": "user", "content": "Go"}],
            "stream": True,
            "max_completion_tokens": 16_384,
            "reasoning": {"effort": "ultra"},
        },
        [],
    )
    assert find_model(row, "best").name == "glm-4.7"


def test_a_new_model_has_what_is_given_and_cautious_defaults(config_file: Path, tmp_path: Path) -> None:
    config_file.write_text(
        '[models."lab/qwen-3"]\nwindow = 32768\nthinking = "none"\nvision = true\n'
        "price.custom = [1, 0.5, 2]\n"
    )
    load(tmp_path)
    custom = find_provider("custom")
    found = find_model(custom, "lab/qwen-3")
    price = Price(1.0, 0.5, 2.0, "config.toml")
    assert found == Model(
        "lab/qwen-3",
        "lab/qwen-3",
        window=32768,
        output=32768,
        thinking="none",
        vision=True,
        price={"custom": price},
    )
    assert dialects.price(custom, found) == price


def test_a_price_of_the_users_replaces_ours_for_that_host_only(config_file: Path, tmp_path: Path) -> None:
    config_file.write_text('[models."glm-4.7".price]\ndeepinfra = [0.3, 0.0, 1.0]\nlab = [0, 0, 0]\n')
    config_file.write_text(config_file.read_text() + '[providers.lab]\nbase_url = "http://lab/v1"\n')
    load(tmp_path)
    prices = find_model(find_provider("zai"), "glm-4.7").price
    assert prices["deepinfra"] == Price(0.3, 0.0, 1.0, "config.toml")
    assert prices["lab"] == Price(0.0, 0.0, 0.0, "config.toml")
    assert prices["zai"] == Price(0.6, 0.11, 2.2, "2026-11")


def test_a_window_of_the_users_holds_at_every_host(config_file: Path, tmp_path: Path) -> None:
    config_file.write_text('[models."glm-4.7"]\nwindow = 65536\n')
    load(tmp_path)
    found = [find_model(find_provider(host), "glm-4.7") for host in ("zai", "deepinfra")]
    assert [(model.window, model.output) for model in found] == [(65536, 65536), (65536, 16384)]


def test_without_files_there_are_our_rows_alone(config_file: Path, tmp_path: Path) -> None:
    ours = list(dialects.providers())
    config_file.write_text('[providers.lab]\nbase_url = "http://lab/v1"\n[models.qwen]\nwindow = 9\n')
    load(tmp_path)
    assert "lab" in dialects.providers() and "qwen" in dialects.models()
    load(tmp_path, bare=True)
    assert list(dialects.providers()) == ours and "qwen" not in dialects.models()
    with pytest.raises(UsageError, match="unknown provider 'lab'"):
        find_provider("lab")


BAD = [
    ('[providers.lab]\nbase_url = "http://lab"\nbase_ulr = 1\n', 3, "no such column; did you mean base_url?"),
    ('[providers.lab]\nbase_url = "lab:8000/v1"\n', 2, "expected a URL like https://host/v1"),
    ('[providers.lab]\nbase_url = "http://me:secret@lab/v1"\n', 2, "scheme, host and path only"),
    ('[providers.lab]\nbase_url = "http://lab/v1?key=1"\n', 2, "scheme, host and path only"),
    ('[providers.lab]\n"base_url" = 8\n', 2, "expected a URL"),
    ('quiet = true\n\n[providers."lab"]\ntitle = "x"\n', 3, "providers.lab: base_url is missing"),
    ("[providers]\nlab = 3\n", 2, "providers.lab: expected a table"),
    ("providers = 3\n", 1, "providers: expected a table"),
    ("models = []\n", 1, "models: expected a table"),
    ('[providers."a b"]\nbase_url = "http://lab/v1"\n', 1, "a provider's name is made of"),
    ("[providers.zai]\ndefault = true\n", 2, "no such column"),
    ("[providers.zai]\nin_flight = 0\n", 2, "in_flight: expected a whole number, 1 or more"),
    ('[providers.zai]\nkey_env = "sk-0123456789"\n', 2, "expected names of environment variables"),
    ('[providers.zai]\nheaders = { Authorization = "Bearer x" }\n', 2, "name its variable in key_env"),
    ('[providers.zai.headers]\nX-A = "a\\nb"\n', 2, "one line of plain ASCII"),
    ('[providers.zai]\nheaders = "X-A: 1"\n', 2, "expected a table"),
    ('[providers.zai]\nthinking = "hard"\n', 2, "expected thinking, reasoning, chat_template_kwargs"),
    ('[providers.zai]\neffort_words = { huge = "x" }\n', 2, "--effort has the words low, high and max"),
    ('[models."glm-4.7"]\nwindow = "big"\n', 2, "models.'glm-4.7'.window: expected a whole number"),
    ('[models."glm-4.7"]\nprice.zai = [1, -0.1, 2]\n', 2, "three prices, none below 0"),
    ('[models."glm-4.7"]\nprice.zai = [1, 2]\n', 2, "three prices, none below 0"),
    ('[models."glm-4.7"]\nprice.zai = [1, nan, 2]\n', 2, "three prices, none below 0"),
    ('[models."glm-4.7"]\nprice.zai = [1, 0, inf]\n', 2, "three prices, none below 0"),
    ('[models."glm-4.7"]\nprice.zai = [true, 1, 2]\n', 2, "three prices, none below 0"),
    ('[models."glm-4.7"]\nprice.zia = [1, 1, 2]\n', 2, "price.zia: no such provider"),
    ('[models."glm-4.7"]\nprice = 1\n', 2, "price: expected a table"),
    ('[models."glm-4.7"]\noutput = 300000\n', 2, "does not fit a window of 204800"),
    ('[models."a b"]\nwindow = 9\n', 1, "a model's name is one word"),
    ('[providers.zai]\ndefault_model = "a b"\n', 2, "expected a model's name"),
    ("[models.a]\nknown = false\n", 2, "no such column"),
    ('[providers.lab]\n\n# base_url = "x"\nmax_tokens = 4\n', 4, "max_tokens: expected max_tokens or"),
]


@pytest.mark.parametrize(("text", "line", "says"), BAD)
def test_a_bad_row_is_refused_with_its_file_and_line(
    config_file: Path, tmp_path: Path, text: str, line: int, says: str
) -> None:
    ours = dialects.providers()
    config_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{config_file}:{line}: ")
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert "secret" not in str(caught.value) and "sk-0123456789" not in str(caught.value)
    assert dialects.providers() == ours


@pytest.mark.parametrize("table", ["providers", "models"])
@pytest.mark.parametrize(
    ("name", "head"), [(".glm-agent.toml", ""), ("pyproject.toml", "[tool.glm-agent]\n[tool.glm-agent.")]
)
def test_a_repository_has_no_rows(tmp_path: Path, name: str, head: str, table: str) -> None:
    opening = f"{head}{table}.zai]\n" if head else f"[{table}.zai]\n"
    (tmp_path / name).write_text(f'{opening}base_url = "http://thief.example/v1"\n')
    with pytest.raises(ConfigError, match=f"a repository may not set {table}"):
        load(tmp_path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PROVIDER_TABLES = st.dictionaries(st.sampled_from(Provider._fields), ANYTHING, max_size=3)
MODEL_TABLES = st.dictionaries(st.sampled_from(Model._fields), ANYTHING, max_size=3)


@given(
    st.dictionaries(st.sampled_from(["zai", "custom", "lab", ""]), PROVIDER_TABLES | ANYTHING, max_size=2),
    st.dictionaries(st.sampled_from(["glm-4.7", "lab", ""]), MODEL_TABLES | ANYTHING, max_size=2),
)
def test_any_tables_are_rows_that_work_or_are_refused(
    providers: dict[str, object], models: dict[str, object]
) -> None:
    try:
        use_rows(providers, models)
    except BadRow as error:
        assert error.path[0] in ("providers", "models") and str(error)
        assert list(dialects.providers())[-1] == "custom"
        return
    for name in ("zai", *providers):
        row = find_provider(name)
        for model in ("glm-4.7", *models):
            found, _ = dialect(row, find_model(row, model), "", [], Wish(effort="max"))
            assert encode([User("Go")], found)["messages"][-1] == {"role": "user", "content": "Go"}
