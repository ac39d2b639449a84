"""What may not be read by a model: files that are secrets by their name, and live tokens anywhere else.

Pure rules: a file that is one is withheld whole, a token in any other file is masked in place, line by line,
so that what is around it stays readable and line numbers hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import PurePosixPath
from typing import Literal

Kind = Literal["open", "secret", "with token", "key"]

_PUBLIC_ENDS = (".example", ".sample", ".template", ".dist")
_VARIETY = 8  # different characters: what has fewer is a placeholder
_PLACEHOLDER = re.compile(r"example|placeholder|dummy|changeme|your[_-]|xxxx|\*\*\*\*|\.\.\.", re.IGNORECASE)

# Files of registries, forges and clouds that hold nothing worth reading but credentials.
_NAMES = frozenset(
    {
        *(".netrc", "_netrc", ".git-credentials", ".pgpass", ".my.cnf", ".htpasswd", ".vault-token"),
        *("application_default_credentials.json", "credentials.tfrc.json", "kubeconfig", ".dockercfg"),
    }
)
_PLACES = (
    *(".aws/credentials", ".azure/accesstokens.json", ".azure/msal_token_cache.json", ".kube/config"),
    *(".config/gcloud/credentials.db", ".config/gh/hosts.yml", ".gem/credentials"),
    *(".cargo/credentials", ".cargo/credentials.toml"),
)
# Files that are ordinary until somebody puts a token into them.
_WITH_TOKEN = frozenset(
    {
        *(".npmrc", ".yarnrc", ".yarnrc.yml", ".pypirc", "pip.conf", "auth.json", "nuget.config"),
        *("settings.xml", ".bunfig.toml", ".condarc", ".terraformrc", ".s3cfg", ".boto"),
    }
)
_WITH_TOKEN_AT = (".docker/config.json", ".aws/config", ".bundle/config")
_TOKEN_FIELD = re.compile(
    r"(?:_auth(?:token)?|_password|password|passwd|token|secret|npmauthtoken|cleartextpassword"
    r"|secret_access_key|[\"']auth[\"'])[\"'>]?\s*(?:[:=>]|\s\S*value\s*=)\s*[\"']?([^\s\"'<>${}]{6,})",
    re.IGNORECASE,
)
_KEY_ENDS = (".pem", ".key", ".p12", ".pfx", ".jks", ".keystore")
_KEY_NAME = re.compile(r"id_(?:rsa|dsa|ecdsa|ecdsa_sk|ed25519|ed25519_sk|xmss)(?:[._-].*)?")
# What editors and careful people call a second copy.
_COPY_ENDS = ("~", "#", ".swp", ".swo", ".bak", ".backup", ".old", ".orig", ".save")
_COPY = re.compile(r"#(.+)#|\.#(.+)|\.(.+)\.sw[op]|(.+?)(?:~|\.~[0-9]+~|\.(?:bak|backup|old|orig|save))")

# What kind, texts of which one is in each that fits, and how it looks.
_KINDS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (  # with a digit, and not in words: names of styles and of algorithms begin so too
        "API key",
        ("sk-",),
        r"(?<![\w-])(?<!sha256=)sk-(?=[A-Za-z_-]{0,80}[0-9])(?=[\w-]{0,60}?[A-Za-z0-9]{12})[A-Za-z0-9_-]{20,}",
    ),
    ("API key", ("",), r"(?<![0-9a-f])[0-9a-f]{32}\.[A-Za-z0-9]{16}\b"),
    (
        "API key",
        ("gsk_", "xai-", "r8_", "hf_", "nvapi-", "pplx-", "fw_", "tgp_v1_"),
        r"(?<![\w/+-])(?<!sha256=)(?:gsk_|xai-|r8_|hf_|nvapi-|pplx-|fw_|tgp_v1_)[A-Za-z0-9_-]{30,}",
    ),
    (
        "GitHub token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"\bgh[opusr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{40,}",
    ),
    (
        "GitLab token",
        tuple(
            f"gl{kind}-" for kind in ("pat", "dt", "rt", "cbt", "ptt", "ft", "imt", "agent", "oas", "soat")
        ),
        r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat)-[A-Za-z0-9_.-]{20,}",
    ),
    ("AWS key", ("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    (
        "AWS secret",
        ("aws", "AWS", "Aws"),
        r"(?i:aws_?(?:secret_?(?:access_?)?key|session_?token))[\"']?\s*[:=]\s*[\"']?([A-Za-z0-9/+=]{40,})",
    ),
    ("Azure key", ("AccountKey", "AccessKey"), r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,}=*)"),
    (
        "Google key",
        ("AIza", "ya29.", "GOCSPX-"),
        r"\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{20,}|\bGOCSPX-[A-Za-z0-9_-]{28}",
    ),
    ("Slack token", ("xox", "xapp-"), r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bxapp-[0-9]-[A-Za-z0-9-]{20,}"),
    ("Slack webhook", ("hooks.slack",), r"hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/_-]{20,})"),
    ("payment key", ("_live_", "whsec_"), r"\b(?:sk|rk)_live_[0-9A-Za-z]{16,}|\bwhsec_[A-Za-z0-9+/=]{20,}"),
    (
        "registry token",
        ("npm_", "pypi-", "dckr_pat_"),
        r"\bnpm_[A-Za-z0-9]{36}|\bpypi-[A-Za-z0-9_-]{50,}|\bdckr_pat_[A-Za-z0-9_-]{20,}",
    ),
    ("registry token", (":_auth",), r":_auth(?:Token|)\s*=\s*([^\s\"'${}]{16,})"),
    (
        "mail key",
        ("SG.", "key-"),
        r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{20,}|(?<![\w-])key-[0-9a-f]{32}\b",
    ),
    (
        "cloud token",
        ("_v1_", "dapi", "hvs."),
        r"\bdo[opr]_v1_[a-f0-9]{64}|\bdapi[a-f0-9]{32}\b|\bhvs\.[A-Za-z0-9_-]{24,}",
    ),
    ("bot token", (":AA",), r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    ("age key", ("AGE-SECRET",), r"\bAGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    (  # what a checkout leaves in `.git/config`, and what is sent to servers
        "password",
        ("uthorization", "UTHORIZATION"),
        r"(?i:authorization)[\"']?\s*[:=]\s*[\"']?(?i:basic|bearer|token)\s+([A-Za-z0-9+/=._~-]{16,})",
    ),
    (
        "password in a URL",
        ("://",),
        r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'`<>{}$]{1,80}:([^\s:/@\"'`<>{}$%]{8,})@",
    ),
)
_MARK = "[secret: {} withheld]"
_MARKED = re.compile(r"\[secret: [A-Za-z ]+ withheld\]")
_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE = re.compile(r"^[\s\"'+#*/-]*[A-Za-z0-9+/=]{16,}(?:\\n)?[\s\"',+\\]*$")
_BARE_LINE = re.compile(r"[A-Za-z0-9+/]{60,76}={0,2}")
_LONGEST_KEY = 400  # lines


@dataclass(frozen=True, slots=True)
class Secrets:
    """Which files a session withholds. `allowed` are globs of what the user lets it read all the same.

    `is_tracked` tells of a path whether it is committed: a key that everybody has is no secret. `linked`
    gives device and inode of those secrets that have more than one name, `aliases` their paths where a copy
    has made files of their own of these names.
    """

    allowed: tuple[str, ...] = ()
    is_tracked: Callable[[str], bool] = lambda path: False
    linked: Callable[[], Collection[tuple[int, int]]] = tuple
    aliases: Callable[[], Collection[str]] = tuple

    def withholds(self, path: str, read: Callable[[], bytes] = lambda: b"") -> bool:
        """Whether the file `path`, '/'-separated beneath the root, is a secret; `read` gives its content."""
        kind = name_kind(path)
        if kind == "open" or self.allows(path):
            return False
        if kind == "with token":
            return has_credentials(read())
        return kind == "secret" or not self.is_tracked(path)

    def withholds_inode(self, path: str, status: os.stat_result) -> bool:
        """Whether the file, found as `path`, is a secret by another of its names."""
        if self.allows(path):
            return False
        if path in self.aliases():
            return True
        # few files have two, and to look for the names is dear
        return status.st_nlink > 1 and (status.st_dev, status.st_ino) in self.linked()

    def allows(self, path: str) -> bool:
        name = PurePosixPath(path).name
        return any(fnmatchcase(path, glob) or fnmatchcase(name, glob) for glob in self.allowed)

    def mask(self, text: str) -> str:
        """`text` with each live token masked, unless the user allows them all."""
        return text if "*" in self.allowed else mask(text)

    def mask_line(self, line: str) -> str:
        """The same for a line without those around it, which may be one of a private key."""
        if "*" not in self.allowed and _BARE_LINE.fullmatch(line.strip()) and len(set(line)) > 20:
            return _MARK.format("private key")
        return self.mask(line)


def name_kind(path: str) -> Kind:
    """What the name says: a secret, one if there is a token in it, one if git does not track it, or none."""
    folder, slash, name = path.casefold().rpartition("/")
    for one in (name, *_originals(name)):
        if (kind := _kind(f"{folder}{slash}{one}")) != "open":
            return kind
    return "open"


def _originals(name: str) -> list[str]:
    """What a file is called of which this may be a second copy."""
    copy = _COPY.fullmatch(name) if name.startswith(".#") or name.endswith(_COPY_ENDS) else None
    return [f"{dot}{of}" for of in filter(None, copy.groups()) for dot in ("", ".")] if copy else []


def _kind(lower: str) -> Kind:
    name = lower.rpartition("/")[2]
    if name.startswith(".env") and (name == ".env" or name.startswith(".env.")):
        return "open" if name.endswith(_PUBLIC_ENDS) else "secret"
    if name in _NAMES or _is_at(lower, _PLACES) or _is_private_key(name):
        return "secret"
    has_key_name = name.startswith("id_") and "." not in name
    if has_key_name or name in _WITH_TOKEN or _is_at(lower, _WITH_TOKEN_AT):
        return "with token"
    return "key" if name.endswith(_KEY_ENDS) else "open"


def has_credentials(content: bytes) -> bool:
    """Whether a registry's or cloud's configuration holds a token, rather than the name of a variable."""
    text = content[: 1 << 20].decode("utf-8", "replace")
    return any(not _is_placeholder(found[1]) for found in _TOKEN_FIELD.finditer(text)) or mask(text) != text


def mask(text: str) -> str:
    """`text` with each live token replaced by a mark that says of what kind it was; lines stay lines."""
    if _BEGIN.search(text):
        text = "\n".join(_without_keys(text.split("\n")))
    for number, (kind, hints, _) in enumerate(_KINDS):
        if any(hint in text for hint in hints):  # a hundred times as fast as a pattern, and seldom so
            text = _pattern(number).sub(lambda found, kind=kind: _masked(found, kind), text)
    return text


def marks(text: str) -> int:
    """How many marks of withheld values there are in `text`."""
    return len(_MARKED.findall(text)) if "[secret: " in text else 0


@cache
def _pattern(number: int) -> re.Pattern[str]:
    return re.compile(_KINDS[number][2])  # 5 ms for all of them, and few texts need any


def _masked(found: re.Match[str], kind: str) -> str:
    group = 1 if found.re.groups else 0
    value = found[group]
    if _is_placeholder(value):
        return found[0]
    start, end = found.start(group) - found.start(), found.end(group) - found.start()
    return found[0][:start] + _MARK.format(kind) + found[0][end:]


def _is_placeholder(value: str) -> bool:
    """Whether this only shows what a token looks like."""
    return len(set(value)) < min(_VARIETY, len(value)) or _PLACEHOLDER.search(value) is not None


def _without_keys(lines: Iterable[str]) -> Iterable[str]:
    """Private keys keep their first and last line; what is between them goes, line by line."""
    inside = 0
    for line in lines:
        begins, ends = _BEGIN.search(line), _END.search(line)
        if begins and ends and begins.end() <= ends.start():  # all in one string
            is_shown = len(set(line[begins.end() : ends.start()])) < _VARIETY  # only what one looks like
            yield (
                line
                if is_shown
                else line[: begins.end()] + _MARK.format("private key") + line[ends.start() :]
            )
            continue
        if begins:
            inside = 1
        elif ends or inside > _LONGEST_KEY:
            inside = 0
        elif inside and _KEY_LINE.match(line):
            inside += 1
            line = _MARK.format("private key")
        yield line


def _is_private_key(name: str) -> bool:
    return not name.endswith(".pub") and _KEY_NAME.fullmatch(name) is not None


def _is_at(path: str, places: Iterable[str]) -> bool:
    return any(path == place or path.endswith(f"/{place}") for place in places)
