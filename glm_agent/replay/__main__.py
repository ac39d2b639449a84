"""`python -m glm_agent.replay`: the scripted server alone; prints its URL and serves until a signal comes."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from .script import Entry, Pace, read_recording, read_turns
from .server import Server


def main() -> int:
    options = _parser().parse_args()
    try:
        script = _script(options.sse, options.status, options.turns)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"replay: {error}\n")
        return 2
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before any thread, so that all of them inherit it
    pace = Pace(options.delay, options.gap, options.chunk, options.fragment)
    with Server(script, pace=pace, strict=options.strict, log=options.log, port=options.port) as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        signal.sigwait(signals)
    return 0


def _script(recordings: list[Path], status: int, turns: list[Path]) -> list[Entry]:
    script: list[Entry] = [read_recording(path, status) for path in recordings]
    for path in turns:
        try:
            script += read_turns(path.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if not script:
        raise ValueError("nothing to play; give --turns FILE or --sse FILE")
    return script


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m glm_agent.replay", description="A GLM endpoint that answers from a script."
    )
    parser.add_argument(
        "--turns", type=Path, nargs="+", default=[], metavar="FILE", help="turns, one JSON object a line"
    )
    parser.add_argument(
        "--sse", type=Path, nargs="+", default=[], metavar="FILE", help="recorded bodies, played first"
    )
    parser.add_argument("--status", type=int, default=200, help="the HTTP status of recorded bodies")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, metavar="S", help="seconds before the first byte")
    parser.add_argument("--gap", type=float, default=0.0, metavar="S", help="seconds between writes")
    parser.add_argument("--chunk", type=int, default=0, metavar="N", help="bytes in one write")
    parser.add_argument(
        "--fragment", type=int, default=0, metavar="N", help="characters of arguments in one chunk"
    )
    parser.add_argument("--strict", action="store_true", help="answer 400 when the script is at its end")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append each request as a line of JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
