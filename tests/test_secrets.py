"""Files that are secrets, tokens in files that are not, and what only looks like either."""

from __future__ import annotations

import base64
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.secrets import Secrets, marks, mask, name_kind


def token(length: int, letters: str = string.ascii_letters + string.digits) -> str:
    """Never in the source as a whole: scanners of repositories would take it for a leak."""
    return "".join(random.Random(length).choices(letters, k=length))


HEX, UPPER = "0123456789abcdef", string.ascii_uppercase + string.digits

TOKENS = {
    "openai": "sk-" + "proj-" + token(48),
    "anthropic": "sk-" + "ant-" + token(60),
    "zai": token(32, HEX) + "." + token(16),
    "github": "ghp" + "_" + token(36),
    "github fine": "github" + "_pat_" + token(60),
    "gitlab": "glpat" + "-" + token(20),
    "aws id": "AKIA" + token(16, UPPER),
    "google": "AIza" + token(35),
    "slack": "xoxb" + "-" + token(40),
    "stripe": "sk" + "_live_" + token(24),
    "npm": "npm" + "_" + token(36),
    "pypi": "pypi" + "-" + token(60),
    "sendgrid": "SG." + token(22) + "." + token(43),
    "huggingface": "hf" + "_" + token(34),
    "telegram": "123456789:" + "AA" + token(33),
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_is_masked_where_it_stands(name: str) -> None:
    line = f'client = Client(key="{TOKENS[name]}")  # of {name}'
    masked = mask(line)
    assert TOKENS[name] not in masked
    assert masked.startswith('client = Client(key="[secret: ')
    assert masked.endswith(f' withheld]")  # of {name}')
    assert marks(masked) == 1


@pytest.mark.parametrize(
    "line",
    [
        "AWS_SECRET_ACCESS_KEY=" + token(40, string.ascii_letters + string.digits + "/+"),
        'conn = "DefaultEndpointsProtocol=https;AccountKey=' + token(86) + '=="',
        "https://hooks.slack.com/services/T0123/B0123/" + token(24),
        "//registry.example.test/:_authToken=" + token(36),
        "postgres://app:" + token(12) + "@db.internal/app",
        "\textraheader = AUTHORIZATION: basic " + token(60) + "==",
        "curl -H 'Authorization: Bearer " + token(30) + "'",
    ],
)
def test_only_the_secret_part_of_a_line_is_masked(line: str) -> None:
    masked = mask(line)
    assert marks(masked) == 1
    start = masked.index("[secret: ")
    assert line.startswith(masked[:start]) and start > 10


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "x" * 36,
        "sk-" + "your-api-key-goes-here-please",
        "sk-learn is scikit-learn; sk-very-long-hyphenated-class-name-example",
        "https://user:password@example.com",
        "postgres://user:${DB_PASSWORD}@localhost/db",
        "sha = 'd41d8cd98f00b204e9800998ecf8427e'",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "import key-value\ntask-list: key-0123",
        "pip/version.py,sha256=qaN-fw_htIgKUVXoAuAEVgKxQu3tZ9qE2eiKkWIS7LA,160",
        "kafka/a.pyi,sha256=sk-sH1I6OL_lOn3fntKGV6drtVxq12345678",
        'key="-----BEGIN PRIVATE ' + "KEY-----\\nXXXX\\nXXXX\\n-----END PRIVATE " + 'KEY-----"',
        "syn match sshconfigHostKeyAlgo sk-ssh-ed25519-cert-v01@openssh.com",
        '<div class="sk-toggleable__content-arrow sk-grid-col-12-wide-container">',
        "actions-cache-key-d41d8cd98f00b204e9800998ecf8427e",
        'headers = {"Authorization": f"Bearer {settings.token_for_user}"}',
        "",
    ],
)
def test_what_only_looks_like_a_token_stays(text: str) -> None:
    assert mask(text) == text


def test_a_private_key_keeps_its_lines_and_nothing_of_itself() -> None:
    body = [base64.b64encode(random.Random(n).randbytes(48)).decode() for n in range(10)]
    head, tail = "-----BEGIN RSA " + "PRIVATE KEY-----", "-----END RSA " + "PRIVATE KEY-----"
    masked = mask("\n".join(["# a test key", head, *body, tail, "after = 1"])).split("\n")
    assert masked == ["# a test key", head, *["[secret: private key withheld]"] * 10, tail, "after = 1"]
    assert (
        mask(f'KEY = "{head}\\n{body[0]}\\n{tail}"') == f'KEY = "{head}[secret: private key withheld]{tail}"'
    )


def test_a_line_of_a_key_is_known_without_those_around_it() -> None:
    line = base64.b64encode(random.Random(1).randbytes(48)).decode()
    assert Secrets().mask_line(line) == "[secret: private key withheld]"
    assert Secrets(("*",)).mask_line(line) == line
    assert Secrets().mask_line("a" * 64) == "a" * 64


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (".env", "secret"),
        ("deploy/.env.production", "secret"),
        (".ENV", "secret"),
        (".env.example", "open"),
        (".env.local.sample", "open"),
        (".envrc", "open"),
        ("environment.py", "open"),
        (".ssh/id_ed25519", "secret"),
        ("id_rsa.pub", "open"),
        ("id_map", "with token"),
        ("ids.py", "open"),
        ("home/.netrc", "secret"),
        (".aws/credentials", "secret"),
        ("docs/credentials", "open"),
        (".npmrc", "with token"),
        (".docker/config.json", "with token"),
        ("config.json", "open"),
        ("certs/server.pem", "key"),
        ("tests/fixtures/a.key", "key"),
        ("keyboard.py", "open"),
        (".env~", "secret"),
        ("#.env#", "secret"),
        (".#.env", "secret"),
        ("sub/.env.~12~", "secret"),
        (".netrc.swp", "secret"),
        (".id_rsa.swp", "secret"),
        ("credentials.tfrc.json.bak", "secret"),
        (".aws/credentials.old", "secret"),
        (".npmrc.orig", "with token"),
        ("server.key~", "key"),
        ("notes.txt~", "open"),
        ("~", "open"),
    ],
)
def test_the_name_says_what_kind_of_file_it_is(path: str, kind: str) -> None:
    assert name_kind(path) == kind


def test_a_registry_file_is_a_secret_only_with_a_token_in_it() -> None:
    secrets = Secrets()
    assert not secrets.withholds(".npmrc", lambda: b"save-exact=true\n//r.test/:_authToken=${NPM_TOKEN}\n")
    assert secrets.withholds(".npmrc", lambda: b"//r.test/:_authToken=" + token(36).encode() + b"\n")
    assert secrets.withholds(
        ".docker/config.json", lambda: b'{"auths":{"r.test":{"auth":"' + token(24).encode()
    )
    assert not secrets.withholds(".docker/config.json", lambda: b'{"auths":{},"credsStore":"desktop"}')


def test_a_key_that_is_committed_is_nobodys_secret() -> None:
    secrets = Secrets(is_tracked=lambda path: path == "tests/a.pem")
    assert [secrets.withholds(path) for path in ("tests/a.pem", "b.pem", ".env")] == [False, True, True]


def test_what_the_user_allows_is_open() -> None:
    secrets = Secrets(("config/*.env*", "*.pem"))
    shown = [secrets.withholds(path) for path in ("config/.env.test", ".env", "a/b.pem")]
    assert shown == [False, True, False]
    everything = Secrets(("*",))
    assert not everything.withholds("a/.env")
    assert everything.mask(TOKENS["github"]) == TOKENS["github"]


@given(st.text())
def test_masking_is_idempotent_and_keeps_the_lines(text: str) -> None:
    once = mask(text)
    assert mask(once) == once
    assert once.count("\n") == text.count("\n")


@given(st.text(max_size=40), st.sampled_from(sorted(TOKENS)), st.text(max_size=40))
def test_no_text_beside_a_token_keeps_it_readable(before: str, name: str, after: str) -> None:
    secret = TOKENS[name]
    assert secret not in mask(f"{before} {secret} {after}")
