"""The command line: options in, one lazy call out. Nothing is decided here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import typer

from . import options as o
from . import outcome
from .render import expendable, writer
from .render.sanitize import clean

if TYPE_CHECKING:
    from .commands.resuming import Again

app = typer.Typer(
    name="glm-agent",
    help="A coding agent for GLM models whose outcome can be trusted.",
    epilog="Every option --some-name of fix and ask can be set as GLM_AGENT_SOME_NAME. "
    "--version prints the version.",
    rich_markup_mode=None,  # rich is not loaded for help
    pretty_exceptions_enable=False,
)
sessions = typer.Typer(help="What is kept of earlier runs.", rich_markup_mode=None)
app.add_typer(sessions, name="sessions")

# what a command line that makes no sense raises; typer has no public name for it
_Misuse = cast("type[typer.BadParameter]", typer.BadParameter.__base__)


def main(words: list[str]) -> int:
    """The exit code; a command line that makes no sense is one line on stderr."""
    try:
        code = app(words or ["--help"], prog_name="glm-agent", standalone_mode=False)
    except _Misuse as error:
        command = getattr(error.ctx, "command_path", "glm-agent")
        said = " ".join(error.format_message().split()).rstrip(".")
        writer(expendable(sys.stderr))(clean(f"glm-agent: {said}; see `{command} --help`") + "\n")
        return outcome.decide(["error_usage"]).exit_code
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # taken for an ordinary failure by the library
            raise end.__context__ from None
        raise
    return code if isinstance(code, int) else 0


@app.command()
def fix(
    task: o.Task = None,
    prompt_file: o.PromptFile = None,
    stdin: o.Stdin = None,
    cd: o.Cd = None,
    verify: o.Verify = None,
    verify_timeout: o.VerifyTimeout = None,
    verify_rounds: o.VerifyRounds = None,
    sandbox: o.Sandbox = None,
    sandbox_tier: o.SandboxTier = None,
    sandbox_read: o.SandboxRead = None,
    network: o.Network = None,
    allow_secrets: o.AllowSecrets = None,
    allow_path: o.AllowPath = None,
    only: o.Only = None,
    protect: o.Protect = None,
    max_diff_lines: o.MaxDiffLines = None,
    allow_binary: o.AllowBinary = None,
    keep: o.Keep = None,
    yolo: o.Yolo = None,
    allow_empty: o.AllowEmpty = None,
    verify_junit: o.VerifyJunit = None,
    known_failures: o.KnownFailures = None,
    flaky_runs: o.FlakyRuns = None,
    from_report: o.FromReport = None,
    allow_merge: o.AllowMerge = None,
    allow_fork: o.AllowFork = None,
    dry_run: o.DryRun = None,
    worktree: o.Worktree = None,
    attempts: o.Attempts = None,
    commit: o.Commit = None,
    branch: o.Branch = None,
    run_hooks: o.RunHooks = None,
    patch: o.Patch = None,
    model: o.Model = None,
    provider: o.Provider = None,
    base_url: o.BaseUrl = None,
    thinking: o.Thinking = None,
    lean_thinking: o.LeanThinking = None,
    effort: o.EffortOption = None,
    temperature: o.Temperature = None,
    max_tokens: o.MaxTokens = None,
    insecure_http: o.InsecureHttp = None,
    max_turns: o.MaxTurns = None,
    max_wall_time: o.MaxWallTime = None,
    max_tool_calls: o.MaxToolCalls = None,
    max_total_tokens: o.MaxTotalTokens = None,
    max_budget_usd: o.MaxBudgetUsd = None,
    timeout_connect: o.TimeoutConnect = None,
    timeout_headers: o.TimeoutHeaders = None,
    timeout_first: o.TimeoutFirst = None,
    timeout_idle: o.TimeoutIdle = None,
    timeout_turn: o.TimeoutTurn = None,
    output_format: o.OutputFormat = None,
    json: o.Json = False,
    include_partial_messages: o.Partial = None,
    output_last_message: o.LastMessage = None,
    report: o.Report = None,
    json_schema: o.JsonSchema = None,
    agents_md: o.AgentsMd = None,
    append_system_prompt: o.AppendSystemPrompt = None,
    bare: o.Bare = None,
    env_file: o.EnvFile = None,
    ephemeral: o.Ephemeral = None,
    quiet: o.Quiet = None,
    verbose: o.Verbose = None,
    debug_file: o.DebugFile = None,
    record: o.Record = None,
    color: o.ColorOption = None,
    last: o.Continue = False,
    resume: o.Resume = None,
    fork_session: o.ForkSession = False,
) -> None:
    """Change the repository; with --verify, until the command passes."""
    flags = locals()
    from .commands import fix as command

    again = _again(flags)
    raise typer.Exit(command.run(flags.pop("task"), _flags(flags), again=again))


@app.command()
def ask(
    question: o.Question = None,
    prompt_file: o.PromptFile = None,
    stdin: o.Stdin = None,
    cd: o.Cd = None,
    sandbox: o.Sandbox = None,
    sandbox_tier: o.SandboxTier = None,
    sandbox_read: o.SandboxRead = None,
    network: o.Network = None,
    allow_secrets: o.AllowSecrets = None,
    allow_fork: o.AllowFork = None,
    model: o.Model = None,
    provider: o.Provider = None,
    base_url: o.BaseUrl = None,
    thinking: o.Thinking = None,
    lean_thinking: o.LeanThinking = None,
    effort: o.EffortOption = None,
    temperature: o.Temperature = None,
    max_tokens: o.MaxTokens = None,
    insecure_http: o.InsecureHttp = None,
    max_turns: o.MaxTurns = None,
    max_wall_time: o.MaxWallTime = None,
    max_tool_calls: o.MaxToolCalls = None,
    max_total_tokens: o.MaxTotalTokens = None,
    max_budget_usd: o.MaxBudgetUsd = None,
    timeout_connect: o.TimeoutConnect = None,
    timeout_headers: o.TimeoutHeaders = None,
    timeout_first: o.TimeoutFirst = None,
    timeout_idle: o.TimeoutIdle = None,
    timeout_turn: o.TimeoutTurn = None,
    output_format: o.OutputFormat = None,
    json: o.Json = False,
    include_partial_messages: o.Partial = None,
    output_last_message: o.LastMessage = None,
    report: o.Report = None,
    json_schema: o.JsonSchema = None,
    agents_md: o.AgentsMd = None,
    append_system_prompt: o.AppendSystemPrompt = None,
    bare: o.Bare = None,
    env_file: o.EnvFile = None,
    ephemeral: o.Ephemeral = None,
    quiet: o.Quiet = None,
    verbose: o.Verbose = None,
    debug_file: o.DebugFile = None,
    record: o.Record = None,
    color: o.ColorOption = None,
    last: o.Continue = False,
    resume: o.Resume = None,
    fork_session: o.ForkSession = False,
) -> None:
    """Answer a question about the code; change nothing."""
    flags = locals()
    from .commands import ask as command

    again = _again(flags)
    raise typer.Exit(command.run(flags.pop("question"), _flags(flags), again=again))


@app.command("resume")
def resume_session(
    session: o.MaybeSession = None,
    cd: o.Cd = None,
    verify_rounds: o.VerifyRounds = None,
    model: o.Model = None,
    max_turns: o.MaxTurns = None,
    max_wall_time: o.MaxWallTime = None,
    max_tool_calls: o.MaxToolCalls = None,
    patch: o.Patch = None,
    output_format: o.OutputFormat = None,
    json: o.Json = False,
    include_partial_messages: o.Partial = None,
    output_last_message: o.LastMessage = None,
    env_file: o.EnvFile = None,
    quiet: o.Quiet = None,
    verbose: o.Verbose = None,
    debug_file: o.DebugFile = None,
    color: o.ColorOption = None,
    fork_session: o.ForkSession = False,
) -> None:
    """Go on with an interrupted session, by its options."""
    flags = locals()
    from .commands import resume as command

    fork = flags.pop("fork_session")
    raise typer.Exit(command.run(flags.pop("session"), _flags(flags), fork))


@app.command()
def apply(
    file: o.PatchFile = None,
    cd: o.Cd = None,
    check: o.Check = False,
    reverse: o.Reverse = False,
    json: o.AsJson = False,
) -> None:
    """Apply a patch, however sloppy: all of it or nothing."""
    from .commands import apply as command

    raise typer.Exit(command.run(command.Asked(file, cd, check, reverse, json)))


@app.command()
def undo(
    session: o.SessionToUndo = None,
    cd: o.Cd = None,
    check: o.CheckUndo = False,
    force: o.Force = False,
    json: o.AsJson = False,
) -> None:
    """Put the work tree back to what it was before a session."""
    from .commands import undo as command

    raise typer.Exit(command.run(command.Asked(session, cd, force, check, json)))


@app.command()
def demo(
    output_format: o.OutputFormat = None,
    json: o.Json = False,
    quiet: o.Quiet = None,
    verbose: o.Verbose = None,
    color: o.ColorOption = None,
) -> None:
    """Watch a recorded session fix a bug, without a key."""
    flags = locals()
    from .commands import demo as command

    raise typer.Exit(command.run(_flags(flags)))


@app.command()
def replay(file: o.Recording, cd: o.Cd = None, json: o.AsJson = False) -> None:
    """Run a recorded session again, offline, and say where it differs."""
    from .commands import replay as command

    raise typer.Exit(command.run(file, cd, json))


@app.command()
def models(json: o.AsJson = False, provider: o.Provider = None) -> None:
    """List models and providers."""
    from .commands import models as command

    raise typer.Exit(command.run(json, provider))


@app.command()
def config(json: o.AsJson = False, cd: o.Cd = None, provider: o.Provider = None, bare: o.Bare = None) -> None:
    """Print each setting with where it came from."""
    from .commands import config as command

    raise typer.Exit(command.run(json, {"cd": cd, "provider": provider, "bare": bare}))


@app.command()
def doctor(
    json: o.AsJson = False,
    live: o.Live = False,
    save: o.Save = None,
    cd: o.Cd = None,
    provider: o.Provider = None,
    model: o.Model = None,
    base_url: o.BaseUrl = None,
    env_file: o.EnvFile = None,
    bare: o.Bare = None,
    insecure_http: o.InsecureHttp = None,
) -> None:
    """Check this machine; with --live, also what the endpoint does."""
    flags = {"cd": cd, "provider": provider, "model": model, "base_url": base_url}
    flags |= {"env_file": env_file, "bare": bare, "insecure_http": insecure_http}
    from .commands import doctor as command

    raise typer.Exit(command.run(json, live, save, _flags(flags)))


@app.command()
def schema(name: o.Schema) -> None:
    """Print the JSON Schema of the events or of the result."""
    from .commands import schema as command

    raise typer.Exit(command.run(name.value))


@sessions.command("list")
def list_sessions(json: o.AsJson = False) -> None:
    """List sessions, newest first."""
    from .commands import sessions as command

    raise typer.Exit(command.list_all(json))


@sessions.command("show")
def show_session(session: o.SessionId, json: o.AsJson = False) -> None:
    """Show one session."""
    from .commands import sessions as command

    raise typer.Exit(command.show(session, json))


@sessions.command("rm")
def remove_sessions(session: o.SessionIds = None, older_than: o.OlderThan = None) -> None:
    """Remove sessions for good; one that is running stays."""
    from .commands import sessions as command

    raise typer.Exit(command.remove(session or [], older_than))


def _again(given: dict[str, Any]) -> Again | None:
    """Which session goes on, taken out of what was given."""
    from .commands.resuming import Again

    last, name, fork = (given.pop(option) for option in ("last", "resume", "fork_session"))
    return Again(name, fork) if last or name is not None or fork else None


@sessions.command("export")
def export_session(session: o.SessionId, format: o.DocumentFormat, output: o.DocumentFile = None) -> None:
    """Print one session as a document for people or programs."""
    from .commands import export as command

    raise typer.Exit(command.run(session, format.value, output))


def _flags(given: dict[str, Any]) -> dict[str, object]:
    """The options that were given, by their names in settings."""
    return {name: value for name, value in given.items() if value is not None}
