"""The options of the command line, each said once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    text = "text"
    json = "json"
    stream_json = "stream-json"


class Effort(StrEnum):
    low = "low"
    high = "high"
    max = "max"


class SandboxMode(StrEnum):
    read_only = "read-only"
    workspace_write = "workspace-write"
    danger_full_access = "danger-full-access"


class Tier(StrEnum):
    a = "A"
    b = "B"


class Color(StrEnum):
    auto = "auto"
    always = "always"
    never = "never"


class Schema(StrEnum):
    events = "events"
    result = "result"


class Document(StrEnum):
    json = "json"
    md = "md"
    html = "html"
    atif = "atif"


def _text(name: str, what: str, metavar: str, short: str | None = None) -> object:
    names = [name, short] if short else [name]
    return typer.Option(*names, help=what, metavar=metavar, show_default=False)


def _flag(names: str, what: str, *short: str) -> object:
    return typer.Option(names, *short, help=what, show_default=False)


Task = Annotated[
    str | None,
    typer.Argument(metavar="TASK|-", help="What to do; - reads it from stdin.", show_default=False),
]
Question = Annotated[
    str | None,
    typer.Argument(metavar="QUESTION|-", help="What to find out; - reads it from stdin.", show_default=False),
]
PatchFile = Annotated[
    str | None,
    typer.Argument(metavar="FILE|-", help="The patch; - or nothing reads stdin.", show_default=False),
]
SessionId = Annotated[
    str, typer.Argument(metavar="SESSION", help="A session's id, or how it begins.", show_default=False)
]
SessionToUndo = Annotated[
    str | None,
    typer.Argument(
        metavar="SESSION",
        help="A session's id, or how it begins; the last one that changed anything here if not given.",
        show_default=False,
    ),
]
SessionIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="SESSION", help="Sessions' ids, or how they begin.", show_default=False),
]
OlderThan = Annotated[
    str | None, _text("--older-than", "Remove all that were not used for TIME, for example 30d.", "TIME")
]

Cd = Annotated[str | None, _text("--cd", "Run in DIR.", "DIR", "-C")]
PromptFile = Annotated[str | None, _text("--prompt-file", "Read the task from FILE.", "FILE")]
Stdin = Annotated[
    bool | None,
    _flag(
        "--stdin/--no-stdin",
        "Wait for stdin and append it, or leave it alone. Default: append what is there within 0.2 s.",
    ),
]

Model = Annotated[str | None, _text("--model", "The model, for example glm-4.7.", "NAME", "-m")]
Provider = Annotated[str | None, _text("--provider", "Who serves it; `glm-agent models` lists them.", "NAME")]
BaseUrl = Annotated[str | None, _text("--base-url", "Where requests go instead.", "URL")]
Thinking = Annotated[bool | None, _flag("--thinking/--no-thinking", "Let the model think, or not.")]
LeanThinking = Annotated[
    bool | None,
    _flag(
        "--lean-thinking/--no-lean-thinking",
        "No thinking where it is of no use, which is summing a conversation up (default), or there too.",
    ),
]
EffortOption = Annotated[
    Effort | None,
    typer.Option("--effort", help="How much it thinks, where the model has that.", show_default=False),
]
Temperature = Annotated[
    str | None, _text("--temperature", "0 to 2; the provider's default if not given.", "N")
]
MaxTokens = Annotated[str | None, _text("--max-tokens", "At most so many tokens in one reply.", "N")]
InsecureHttp = Annotated[
    bool | None,
    typer.Option(
        "--insecure-http", help="Ask another machine over http://, unencrypted.", show_default=False
    ),
]

OutputFormat = Annotated[
    Format | None,
    typer.Option(
        "--output-format",
        help="What stdout gets: the answer, one result object, or a JSON line an event.",
        show_default=False,
    ),
]
Json = Annotated[bool, _flag("--json", "The same as --output-format stream-json.")]
Check = Annotated[bool, _flag("--check", "Say what would be done, and change nothing.")]
Reverse = Annotated[bool, _flag("--reverse", "Take the patch back.", "-R")]
CheckUndo = Annotated[bool, _flag("--check", "Say what would be put back, and change nothing.", "--dry-run")]
Force = Annotated[bool, _flag("--force", "Put files back that have been changed since, too.")]
AsJson = Annotated[bool, _flag("--json", "Print JSON.")]
Partial = Annotated[
    bool | None,
    typer.Option(
        "--include-partial-messages", help="Add streamed fragments to stream-json.", show_default=False
    ),
]
LastMessage = Annotated[
    str | None, _text("--output-last-message", "Write the final answer to FILE.", "FILE", "-o")
]
Patch = Annotated[
    str | None,
    _text("--patch", "Write the run's diff to FILE; - is stdout, in place of the answer.", "FILE|-"),
]
Report = Annotated[
    list[str] | None,
    _text("--report", "Write how it ended to FILE: md, junit or sarif; repeatable.", "KIND=FILE"),
]

MaxTurns = Annotated[str | None, _text("--max-turns", "At most so many turns of the model.", "N")]
MaxWallTime = Annotated[str | None, _text("--max-wall-time", "At most so long, for example 10m.", "TIME")]
MaxToolCalls = Annotated[str | None, _text("--max-tool-calls", "At most so many tool calls.", "N")]
MaxTotalTokens = Annotated[
    str | None, _text("--max-total-tokens", "At most so many tokens, sent and received.", "N")
]
MaxBudgetUsd = Annotated[
    str | None, _text("--max-budget-usd", "At most so many US dollars, for example 0.50.", "USD")
]
TimeoutConnect = Annotated[
    str | None, _text("--timeout-connect", "Give up a connection that is not there after TIME (10s).", "TIME")
]
TimeoutHeaders = Annotated[
    str | None, _text("--timeout-headers", "Give up a request that is not answered after TIME (60s).", "TIME")
]
TimeoutFirst = Annotated[
    str | None,
    _text(
        "--timeout-first",
        "Give up an answer that says nothing for TIME (120s; 10m where --effort works).",
        "TIME",
    ),
]
TimeoutIdle = Annotated[
    str | None, _text("--timeout-idle", "Give up an answer that falls silent for TIME (300s).", "TIME")
]
TimeoutTurn = Annotated[
    str | None, _text("--timeout-turn", "Give up an answer that is not whole after TIME (30m).", "TIME")
]
Sandbox = Annotated[
    SandboxMode | None,
    typer.Option(
        "--sandbox",
        help="How far commands may reach: ask is read-only, fix workspace-write; danger-full-access confines "
        "nothing.",
        show_default=False,
    ),
]
SandboxTier = Annotated[
    Tier | None,
    typer.Option(
        "--sandbox-tier", help="Demand this tier of the sandbox, or end with 44.", show_default=False
    ),
]
SandboxRead = Annotated[
    list[str] | None, _text("--sandbox-read", "Let commands read PATH too; repeatable.", "PATH")
]
Network = Annotated[bool | None, _flag("--network/--no-network", "Let commands use the network, or not.")]
AllowSecrets = Annotated[
    list[str] | None,
    _text("--allow-secrets", "Show files that hold secrets and fit GLOB; * for all, tokens too.", "GLOB"),
]
AllowPath = Annotated[
    list[str] | None,
    _text(
        "--allow-path",
        "Let the model write what runs by itself and fits GLOB; commands, if a whole folder does.",
        "GLOB",
    ),
]
Only = Annotated[
    list[str] | None, _text("--only", "Take all back (12) if a file changed that fits no GLOB.", "GLOB")
]
Protect = Annotated[
    list[str] | None, _text("--protect", "Take all back (12) if a file changed that fits GLOB.", "GLOB")
]
MaxDiffLines = Annotated[
    str | None, _text("--max-diff-lines", "Take all back (12) if more lines than N changed.", "N")
]
AllowBinary = Annotated[
    bool | None, typer.Option("--allow-binary", help="New binary files are no breach.", show_default=False)
]
Keep = Annotated[
    bool | None, typer.Option("--keep", help="Leave the tree as it is after a breach.", show_default=False)
]
Yolo = Annotated[
    bool | None,
    typer.Option(
        "--yolo", "-y", help="Answer yes where a chat would ask; widens nothing.", show_default=False
    ),
]

Verify = Annotated[
    list[str] | None, _text("--verify", "A command that must pass at the end; repeatable.", "CMD")
]
VerifyTimeout = Annotated[
    str | None, _text("--verify-timeout", "End a --verify command after TIME (10m).", "TIME")
]
VerifyRounds = Annotated[
    str | None, _text("--verify-rounds", "At most so many rounds of work and check (3).", "N")
]
AllowEmpty = Annotated[
    bool | None, typer.Option("--allow-empty", help="Changing nothing is a success too.", show_default=False)
]
AllowMerge = Annotated[
    bool | None,
    typer.Option(
        "--allow-merge", help="Edit files in the middle of a merge or rebase too.", show_default=False
    ),
]

AllowFork = Annotated[
    bool | None,
    typer.Option(
        "--allow-fork", help="Work on a fork's code in a CI job that has your secrets.", show_default=False
    ),
]

VerifyJunit = Annotated[
    list[str] | None,
    _text(
        "--verify-junit",
        "JUnit XML, a file or folder, that the --verify command writes; repeatable, in their order.",
        "PATH",
    ),
]
KnownFailures = Annotated[
    bool | None,
    typer.Option(
        "--known-failures",
        help="What failed before may go on failing, if something is fixed and nothing breaks.",
        show_default=False,
    ),
]
FlakyRuns = Annotated[
    str | None, _text("--flaky-runs", "Repeat a failing --verify N times, to tell what is flaky (0).", "N")
]

FromReport = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        "--from-report",
        help="Fix what FILE reports: JUnit XML, SARIF, or JSON of ruff, mypy, pyright, eslint; repeatable.",
        metavar="FILE",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool | None,
    typer.Option(
        "--dry-run", help="Leave the work tree as it is; stdout gets the patch.", show_default=False
    ),
]
Worktree = Annotated[
    bool | None,
    typer.Option(
        "--worktree", help="Work in a private copy; what succeeds is applied at the end.", show_default=False
    ),
]
Attempts = Annotated[
    str | None, _text("--attempts", "Try up to N times, each in a copy of its own; the best counts.", "N")
]
Commit = Annotated[
    bool | None, typer.Option("--commit", help="Commit what succeeds, and only that.", show_default=False)
]
Branch = Annotated[
    str | None, _text("--branch", "Commit what succeeds to a new branch, without switching to it.", "NAME")
]
RunHooks = Annotated[
    bool | None,
    typer.Option(
        "--run-hooks", help="Run the hooks pre-commit and commit-msg for that commit.", show_default=False
    ),
]

JsonSchema = Annotated[
    str | None,
    _text(
        "--json-schema",
        "The final answer must fit this JSON Schema; it is in structured_output.",
        "JSON|@FILE",
    ),
]

AgentsMd = Annotated[bool | None, _flag("--agents-md/--no-agents-md", "Read AGENTS.md, or not.")]
AppendSystemPrompt = Annotated[
    str | None, _text("--append-system-prompt", "Add TEXT to the system prompt.", "TEXT")
]
Bare = Annotated[
    bool | None,
    typer.Option("--bare", help="Ignore all configuration files and AGENTS.md.", show_default=False),
]
EnvFile = Annotated[str | None, _text("--env-file", "Read keys from FILE.", "FILE")]
Ephemeral = Annotated[
    bool | None, typer.Option("--ephemeral", help="Keep nothing of the session.", show_default=False)
]

Continue = Annotated[
    bool,
    typer.Option(
        "--continue", "-c", help="Go on with the session that worked last here.", show_default=False
    ),
]
Resume = Annotated[str | None, _text("--resume", "Go on with the session SESSION.", "SESSION", "-r")]
ForkSession = Annotated[
    bool,
    typer.Option(
        "--fork-session", help="Go on under a new id; the session itself stays as it is.", show_default=False
    ),
]
MaybeSession = Annotated[
    str | None,
    typer.Argument(
        metavar="SESSION", help="A session's id, or how it begins; else the last here.", show_default=False
    ),
]

Live = Annotated[
    bool, _flag("--live", "Ask the endpoint a few small questions (at most 8 requests, which cost money).")
]
Save = Annotated[
    str | None, _text("--save", "Keep what --live finds as the provider NAME in your config.toml.", "NAME")
]

Quiet = Annotated[
    bool | None, typer.Option("--quiet", "-q", help="Only the answer and errors.", show_default=False)
]
Verbose = Annotated[
    bool | None, typer.Option("--verbose", "-v", help="Also reasoning and tool results.", show_default=False)
]
DebugFile = Annotated[
    str | None, _text("--debug-file", "Write the details of an internal error to FILE.", "FILE")
]
Record = Annotated[
    str | None,
    _text("--record", "Keep what the provider sent and the tools returned in FILE, to replay it.", "FILE"),
]
Recording = Annotated[str, typer.Argument(metavar="FILE", help="What --record wrote.", show_default=False)]
ColorOption = Annotated[
    Color | None, typer.Option("--color", help="Colours on the terminal.", show_default=False)
]

DocumentFormat = Annotated[
    Document,
    typer.Option(
        "--format", help="json: as the stream; atif: Agent Trajectory Interchange Format.", show_default=False
    ),
]
DocumentFile = Annotated[str | None, _text("--output", "Write to FILE instead of stdout.", "FILE", "-o")]
