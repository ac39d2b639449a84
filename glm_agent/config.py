"""Where values come from: user's file < repository's file < environment < flags.

A repository's file may only narrow: it names a model, checks, lower caps. It never sets an endpoint or a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from . import files, repository
from .dialects import Provider, providers, use_rows
from .errors import AuthError, ConfigError, RepositoryError, UsageError
from .paths import shown
from .rows import BadRow, base_url, read_provider
from .settings import OPTIONS, Settings, flag, globs, reports, texts
from .shape import mapping
from .spelling import near
from .types import Json

REPOSITORY_FILE = ".glm-agent.toml"
KEY = "GLM_AGENT_API_KEY"

_PREFIX = "GLM_AGENT_"
_REPOSITORY = "repository "  # how an origin begins
_JSON, _FORMAT = _PREFIX + "JSON", _PREFIX + "OUTPUT_FORMAT"
_FILE_OPTIONS = [name for name, option in OPTIONS.items() if option.file]
_HERE = re.compile(r"(?i)http://(?:localhost|127(?:\.[0-9]{1,3}){3}|0\.0\.0\.0|\[::1?\])(?::[0-9]+)?(?:/|$)")
_ENV_LINE = re.compile(
    r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*"
    r"(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)'|(?P<plain>.*?))(?:\s#.*)?\s*"
)


def load(
    flags: Mapping[str, object], folder: Path, root: Path | None, start: Mapping[str, str] | None = None
) -> Settings:
    """All layers for a run in `folder`, in the repository `root`; a flag that was not given is None.

    `start` replaces the process's environment. Raises UsageError for a bad flag, ConfigError for what is bad
    below the flags.
    """
    start = environment() if start is None else start
    use_rows({}, {})
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    demands: dict[str, object] = {}
    given = _given(flags)
    bare = bool(given.get("bare")) or _is_on(start.get(_PREFIX + "BARE"))
    layers = [_environment_layer(start), _flag_layer(given)]
    if not bare:
        _require_own(root)
        layers = [_user_layer(), _repository_layer(root or folder, values), *layers]
    for layer in layers:
        for name, value, origin in layer:
            if OPTIONS[name].repository == "add" and origin.startswith(_REPOSITORY):
                demands[name] = value
            else:
                values[name], origins[name] = value, origin
    extra = {} if bare else _env_file(config_home() / ".env", wanted=False)
    if env_file := values.get("env_file"):
        extra |= _env_file(Path(str(env_file)), wanted=True)
    ignored = tuple(name for name in extra if _is_ignored(name))
    values["environment"] = {**{name: extra[name] for name in extra if name not in ignored}, **start}
    return Settings(**values, origins=origins, ignored=ignored, demands=demands)  # pyright: ignore[reportArgumentType]


def fallback(flags: Mapping[str, object], start: Mapping[str, str] | None = None) -> Settings:
    """Settings from environment and flags, as far as they can be read: for reporting an error."""
    start = environment() if start is None else start
    values: dict[str, object] = {}
    for name, option in OPTIONS.items():
        for value in (start.get(_PREFIX + name.upper()), flags.get(name)):
            if value:
                with suppress(ValueError):
                    values[name] = option.parse(value)
    if flags.get("json") or (not flags.get("output_format") and _is_on(start.get(_JSON))):
        values["output_format"] = "stream-json"
    return Settings(**values)  # pyright: ignore[reportArgumentType]


def environment() -> dict[str, str]:
    """The environment the program was started in."""
    return dict(os.environ)


def from_repository(settings: Settings, name: str) -> bool:
    """Whether the option's value comes from a file that the repository holds."""
    return settings.origins.get(name, "").startswith(_REPOSITORY)


def working_folder(flag: object, start: Mapping[str, str] | None = None) -> Path:
    """Where the run happens: `-C DIR`, else the current directory. Raises RepositoryError."""
    start = environment() if start is None else start
    given = str(flag or start.get(_PREFIX + "CD", ""))
    try:
        folder = Path(given).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # the last for a loop, before Python 3.13
        raise RepositoryError(
            f"{given or 'the current directory'}: cannot be entered: {files.why(error)}"
        ) from error
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        raise RepositoryError(f"{given}: not a directory that can be read")
    return folder


def config_home() -> Path:
    return _home("XDG_CONFIG_HOME", ".config")


def state_home() -> Path:
    return _home("XDG_STATE_HOME", ".local/state")


def require_new_provider(name: str) -> None:
    """Raises UsageError unless `name` can be that of a new row in the user's file."""
    if name in providers():
        raise UsageError(f"there is a provider {name} already; choose another name")
    try:
        read_provider(name, {"base_url": "http://localhost"}, providers()["custom"])
    except BadRow as error:
        raise UsageError(f"--save {name!r}: {error}") from error


def add_provider(name: str, table: str) -> Path:
    """Puts `[providers.NAME]`, the TOML text `table`, at the end of the user's file. Raises ConfigError."""
    file = Path(os.path.realpath(config_home() / "config.toml"))
    text = files.read(file)
    if name in mapping(files.parse(file, text).get("providers")):
        raise ConfigError(f"{file}: there is a provider {name} already; it stays as it is")
    whole = f"{text.rstrip()}\n\n{table}" if text.strip() else table
    try:
        read_provider(name, files.parse(file, whole)["providers"][name], providers()["custom"])
    except (ConfigError, BadRow) as error:
        raise ConfigError(f"{file}: [providers.{name}] cannot stand at its end") from error
    files.replace(file, whole)
    return file


def find_base_url(settings: Settings, provider: Provider) -> tuple[str, str]:
    """Where requests go, and who says so. Raises UsageError if nobody does, ConfigError for no URL."""
    origin = settings.origins.get("base_url", "default")
    own = next((name for name in provider.base_url_env if settings.environment.get(name)), None)
    if settings.base_url and (own is None or not origin.startswith("user ")):
        return settings.base_url, origin
    if own:
        _check_url("environment variable", own, settings.environment[own])
        return settings.environment[own], f"environment {own}"
    if provider.base_url:
        return provider.base_url, "default"
    raise UsageError(f"provider {provider.name} needs --base-url, for example http://127.0.0.1:8000/v1")


def require_privacy(settings: Settings, url: str, origin: str) -> None:
    """Raises UsageError, ConfigError if a flag did not say so, for http:// to another machine."""
    if is_private(url) or settings.insecure_http:
        return
    problem = UsageError if origin == "flag" else ConfigError
    host = url.partition("//")[2].partition("/")[0]
    raise problem(
        f"{host} is asked over http://, so that key and code would go there unencrypted; use https, or a "
        "tunnel, or --insecure-http if nobody else is on that network"
    )


def is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent: it is encrypted, or does not leave this machine."""
    return not url.lower().startswith("http:") or bool(_HERE.match(url))


def find_key(settings: Settings, provider: Provider) -> tuple[str, str] | None:
    """The key and the variable it was found in; None if the provider needs none. Raises AuthError."""
    names = [KEY, *provider.key_env]
    for name in names:
        if value := settings.environment.get(name, "").strip():
            if not value.isascii() or not value.isprintable() or " " in value:
                raise AuthError(
                    f"{name} does not hold a key: it has spaces, line breaks or non-ASCII characters"
                )
            return value, name
    if not provider.key_needed:
        return None
    raise AuthError(
        f"no key for {provider.name}: set {' or '.join(names)} (get one at {provider.key_page}); "
        "`glm-agent demo` needs none"
    )


Layer = Iterator[tuple[str, object, str]]


def _given(flags: Mapping[str, object]) -> dict[str, object]:
    """The flags that were given; `json` is a spelling of an output format."""
    given = {name: value for name, value in flags.items() if value is not None and value not in ((), [])}
    if given.pop("json", False):
        if given.get("output_format", "stream-json") != "stream-json":
            raise UsageError("--json means --output-format stream-json; give one of them")
        given["output_format"] = "stream-json"
    return given


def _home(variable: str, below: str) -> Path:
    given = Path(os.environ.get(variable, ""))
    if given.is_absolute():
        return given / "glm-agent"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ConfigError(f"there is no home directory; set HOME or {variable}") from error
    if not home.is_absolute():  # it would be a folder of the repository
        raise ConfigError(f"HOME is {str(home)!r}, which is no absolute path; set it, or {variable}")
    return home / below / "glm-agent"


def _flag_layer(given: Mapping[str, object]) -> Layer:
    for name, value in given.items():
        try:
            yield name, OPTIONS[name].parse(value), "flag"
        except ValueError as error:
            shown = ", ".join(map(repr, value)) if isinstance(value, list | tuple) else repr(value)  # pyright: ignore[reportUnknownArgumentType]
            raise UsageError(f"--{name.replace('_', '-')} {shown}: {error}") from error


def _environment_layer(start: Mapping[str, str]) -> Layer:
    if _wants_json(start):
        if start.get(_FORMAT, "stream-json") != "stream-json":
            raise ConfigError(f"{_JSON} means {_FORMAT}=stream-json; set one of them")
        yield "output_format", "stream-json", f"environment {_JSON}"
    for name, option in OPTIONS.items():
        variable = _PREFIX + name.upper()
        if not (value := start.get(variable)):
            continue
        try:
            parsed = option.parse(value.split("\n") if option.parse in (texts, globs, reports) else value)
        except ValueError as error:
            raise ConfigError(f"environment variable {variable}={value!r}: {error}") from error
        if name == "base_url":
            _check_url("environment variable", variable, parsed)
        yield name, parsed, f"environment {variable}"


def _check_url(where: str, name: str, value: object) -> None:
    """Raises ConfigError for what is no base URL, without showing it: a password may stand in it."""
    try:
        base_url(value)
    except ValueError as error:
        raise ConfigError(f"{where}{': ' if ':' in where else ' '}{name}: {error}") from error


def _wants_json(start: Mapping[str, str]) -> bool:
    """As `--json`, it is a spelling of an output format."""
    try:
        return flag(start.get(_JSON) or "0")
    except ValueError as error:
        raise ConfigError(f"environment variable {_JSON}={start[_JSON]!r}: {error}") from error


def _is_on(value: str | None) -> bool:
    with suppress(ValueError):
        return flag(value)
    return False


def _require_own(root: Path | None) -> None:
    """Raises ConfigError if what we would take for the user's file comes with the repository.

    Whoever names the folder by XDG_CONFIG_HOME has said whose it is; a home may only have been put there.
    """
    if Path(os.environ.get("XDG_CONFIG_HOME", "")).is_absolute() or root is None:
        return
    if file := repository.brings(root, config_home()):
        raise ConfigError(
            f"{shown(file)} is part of the repository, and so not yours; --bare leaves it out, and setting "
            "XDG_CONFIG_HOME says that it is"
        )


def _user_layer() -> Layer:
    file = config_home() / "config.toml"
    text = files.read(file, own=True)
    table = files.parse(file, text) if text else {}
    _take_rows(file, text, table.pop("providers", {}), table.pop("models", {}))
    for name, value in table.items():
        if name in ("api_key", "key"):
            raise ConfigError(
                f"{files.place(file, text, name)}: keys belong into {file.parent / '.env'} as {KEY}=…"
            )
        if name not in OPTIONS or not OPTIONS[name].file:
            meant = near(name, _FILE_OPTIONS)
            raise ConfigError(f"{files.place(file, text, name)}: {_plain(name)} cannot be set here{meant}")
        if name in ("provider", "model") and isinstance(value, dict):
            why = f"a {name}'s rows stand in [{name}s.NAME]"
            raise ConfigError(f"{files.place_of(file, text, (name,))}: {name}: {why}")
        parsed = _parse(file, text, name, value)
        if name == "base_url":
            _check_url(files.place(file, text, name), name, parsed)
        yield name, parsed, f"user {file}"


def _take_rows(file: Path, text: str, providers: object, models: object) -> None:
    try:
        use_rows(providers, models)
    except BadRow as error:
        name = ".".join(map(_plain, error.path))
        raise ConfigError(f"{files.place_of(file, text, error.path)}: {name}: {error}") from error


def _repository_layer(root: Path, below: Mapping[str, object]) -> Layer:
    """What the repository asks for; checks that the user set, and a cap set lower, stay."""
    file = root / REPOSITORY_FILE
    text = files.read(file, follow=False)
    table = files.parse(file, text) if text else {}
    if not text:
        file = root / "pyproject.toml"
        text = files.read(file, follow=False)
        table = _our_table(file, text)
    for name, value in table.items():
        if name not in OPTIONS or OPTIONS[name].repository == "no":
            where = files.place(file, text, name)
            raise ConfigError(
                f"{where}: a repository may not set {_plain(name)}; only a flag or your own file may"
            )
        parsed = _parse(file, text, name, value)
        own = below.get(name)
        lowers = OPTIONS[name].repository == "lower"
        if lowers and isinstance(own, int | float) and isinstance(parsed, int | float) and own <= parsed:
            continue
        if name == "verify" and own:
            continue
        yield name, parsed, f"{_REPOSITORY}{file}"


def _our_table(file: Path, text: str) -> Json:
    """`[tool.glm-agent]` of a pyproject.toml; a broken one may be what is to be fixed, and is passed over."""
    if "glm-agent" not in text:
        return {}
    try:
        return mapping(mapping(files.parse(file, text).get("tool")).get("glm-agent"))
    except ConfigError:
        if files.OUR_HEADER.search(text):
            raise
        return {}


def _parse(file: Path, text: str, name: str, value: object) -> object:
    try:
        return OPTIONS[name].parse(value)
    except ValueError as error:
        raise ConfigError(f"{files.place(file, text, name)}: {name} = {_shown(value)}: {error}") from error


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # a whole number that has more digits than Python prints
        return "…"


def _env_file(file: Path, *, wanted: bool) -> dict[str, str]:
    """NAME=VALUE lines; quotes around a value and a comment behind it are taken off, nothing is expanded."""
    if wanted and not file.is_file():
        raise ConfigError(f"--env-file {file}: no such file")
    found: dict[str, str] = {}
    for number, line in enumerate(files.read(file, own=not wanted).split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pair = _ENV_LINE.fullmatch(line)
        if pair is None:
            raise ConfigError(f"{file}:{number}: expected NAME=VALUE")
        found[pair["name"]] = next(filter(None, pair.group("double", "single", "plain")), "")
    return found


def _is_ignored(name: str) -> bool:
    """An env file may be the repository's own, so it gives keys and nothing else."""
    return name.endswith("_BASE_URL") or (name.startswith(_PREFIX) and name != KEY)


def _plain(name: str) -> str:
    """A TOML key on one line; quoted, it may hold anything."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) else repr(name[:60])
