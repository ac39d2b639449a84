"""Where values come from: user's file < repository's file < environment < flags.

A repository's file may only narrow: it names a model, checks, lower caps. It never sets an endpoint or a key.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from .dialects import Provider, use_rows
from .errors import AuthError, ConfigError, RepositoryError, UsageError
from .rows import BadRow
from .settings import OPTIONS, Settings, flag
from .shape import mapping
from .spelling import near
from .types import Json

REPOSITORY_FILE = ".glm-agent.toml"
KEY = "GLM_AGENT_API_KEY"

_PREFIX = "GLM_AGENT_"
_JSON, _FORMAT = _PREFIX + "JSON", _PREFIX + "OUTPUT_FORMAT"
_MAX_FILE = 1 << 20  # bytes of a configuration file
_FILE_OPTIONS = [name for name, option in OPTIONS.items() if option.file]
_OUR_HEADER = re.compile(r"^\s*\[\s*tool\s*\.\s*[\"']?glm-agent", re.MULTILINE)
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
    given = _given(flags)
    bare = bool(given.get("bare")) or _is_on(start.get(_PREFIX + "BARE"))
    layers = [_environment_layer(start), _flag_layer(given)]
    if not bare:
        layers = [_user_layer(), _repository_layer(root or folder, values), *layers]
    for layer in layers:
        for name, value, origin in layer:
            values[name], origins[name] = value, origin
    extra = {} if bare else _env_file(config_home() / ".env", wanted=False)
    if env_file := values.get("env_file"):
        extra |= _env_file(Path(str(env_file)), wanted=True)
    ignored = tuple(name for name in extra if _is_ignored(name))
    values["environment"] = {**{name: extra[name] for name in extra if name not in ignored}, **start}
    return Settings(**values, origins=origins, ignored=ignored)  # pyright: ignore[reportArgumentType]


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
    return settings.origins.get(name, "").startswith("repository ")


def working_folder(flag: object, start: Mapping[str, str] | None = None) -> Path:
    """Where the run happens: `-C DIR`, else the current directory. Raises RepositoryError."""
    start = environment() if start is None else start
    given = str(flag or start.get(_PREFIX + "CD", ""))
    try:
        folder = Path(given).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # the last for a loop, before Python 3.13
        raise RepositoryError(
            f"{given or 'the current directory'}: cannot be entered: {_why(error)}"
        ) from error
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        raise RepositoryError(f"{given}: not a directory that can be read")
    return folder


def config_home() -> Path:
    return _home("XDG_CONFIG_HOME", ".config")


def state_home() -> Path:
    return _home("XDG_STATE_HOME", ".local/state")


def find_base_url(settings: Settings, provider: Provider) -> tuple[str, str]:
    """Where requests go, and who says so. Raises UsageError if nobody does."""
    origin = settings.origins.get("base_url", "default")
    own = next((name for name in provider.base_url_env if settings.environment.get(name)), None)
    if settings.base_url and (own is None or not origin.startswith("user ")):
        return settings.base_url, origin
    if own:
        return settings.environment[own], f"environment {own}"
    if provider.base_url:
        return provider.base_url, "default"
    raise UsageError(f"provider {provider.name} needs --base-url, for example http://127.0.0.1:8000/v1")


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
            parsed = option.parse(value.split("\n") if name == "verify" else value)
        except ValueError as error:
            raise ConfigError(f"environment variable {variable}={value!r}: {error}") from error
        yield name, parsed, f"environment {variable}"


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


def _user_layer() -> Layer:
    file = config_home() / "config.toml"
    text = _read(file)
    table = _toml(file, text) if text else {}
    _take_rows(file, text, table.pop("providers", {}), table.pop("models", {}))
    for name, value in table.items():
        if name in ("api_key", "key"):
            raise ConfigError(f"{_at(file, text, name)}: keys belong into {file.parent / '.env'} as {KEY}=…")
        if name not in OPTIONS or not OPTIONS[name].file:
            raise ConfigError(
                f"{_at(file, text, name)}: {_plain(name)} cannot be set here{near(name, _FILE_OPTIONS)}"
            )
        yield name, _parse(file, text, name, value), f"user {file}"


def _take_rows(file: Path, text: str, providers: object, models: object) -> None:
    try:
        use_rows(providers, models)
    except BadRow as error:
        name = ".".join(map(_plain, error.path))
        raise ConfigError(f"{_at_path(file, text, error.path)}: {name}: {error}") from error


def _repository_layer(root: Path, below: Mapping[str, object]) -> Layer:
    """What the repository asks for; checks that the user set, and a cap set lower, stay."""
    file = root / REPOSITORY_FILE
    text = _read(file, follow=False)
    table = _toml(file, text) if text else {}
    if not text:
        file = root / "pyproject.toml"
        text = _read(file, follow=False)
        table = _our_table(file, text)
    for name, value in table.items():
        if name not in OPTIONS or OPTIONS[name].repository == "no":
            where = _at(file, text, name)
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
        yield name, parsed, f"repository {file}"


def _our_table(file: Path, text: str) -> Json:
    """`[tool.glm-agent]` of a pyproject.toml; a broken one may be what is to be fixed, and is passed over."""
    if "glm-agent" not in text:
        return {}
    try:
        return mapping(mapping(_toml(file, text).get("tool")).get("glm-agent"))
    except ConfigError:
        if _OUR_HEADER.search(text):
            raise
        return {}


def _parse(file: Path, text: str, name: str, value: object) -> object:
    try:
        return OPTIONS[name].parse(value)
    except ValueError as error:
        raise ConfigError(f"{_at(file, text, name)}: {name} = {value!r}: {error}") from error


def _toml(file: Path, text: str) -> Json:
    import tomllib  # 16 ms

    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{file}: not valid TOML: nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = found[1] if found else text.count("\n") + 1
        raise ConfigError(f"{file}:{line}: not valid TOML: {error}") from error


def _at(file: Path, text: str, name: str) -> str:
    """`file:line` of the key `name`."""
    table = _OUR_HEADER.search(text)
    key = re.compile(rf"^[ \t]*[\"']?{re.escape(name)}\b", re.MULTILINE)
    found = key.search(text, table.start() if table else 0)
    return f"{file}:{text.count(chr(10), 0, found.start()) + 1}" if found else str(file)


def _at_path(file: Path, text: str, path: tuple[str, ...]) -> str:
    """`file:line` of the last part of a path of tables and keys that can be seen in the text."""
    place = 0
    for name in path:
        key = re.compile(rf"(?<![\w-])[\"']?{re.escape(name)}[\"']?\s*[.=\]]")
        found = key.search(text, place)
        place = found.start() if found else place
    return f"{file}:{text.count(chr(10), 0, place) + 1}"


def _read(file: Path, *, follow: bool = True) -> str:
    """The text of a configuration file, "" if there is none. Never waits for a FIFO."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(file, flags if follow else flags | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        if not follow and file.is_symlink():
            raise ConfigError(f"{file}: a symbolic link; a repository's settings must be a file") from error
        raise ConfigError(f"{file}: {_why(error)}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"{file}: not a regular file")
        data = os.read(descriptor, _MAX_FILE + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_FILE:
        raise ConfigError(f"{file}: larger than {_MAX_FILE >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}: not valid UTF-8") from error


def _env_file(file: Path, *, wanted: bool) -> dict[str, str]:
    """NAME=VALUE lines; quotes around a value and a comment behind it are taken off, nothing is expanded."""
    if wanted and not file.is_file():
        raise ConfigError(f"--env-file {file}: no such file")
    found: dict[str, str] = {}
    for number, line in enumerate(_read(file).split("\n"), 1):
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


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _plain(name: str) -> str:
    """A TOML key on one line; quoted, it may hold anything."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) else repr(name[:60])
