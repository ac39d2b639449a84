"""What tools leave behind where they ran: untracked, it is never a change that a run made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

USUAL = (
    *("__pycache__/", "*.py[cod]", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".hypothesis/"),
    *(".tox/", ".nox/", ".venv/", "*.egg-info/", ".eggs/", ".coverage", ".coverage.*", "htmlcov/"),
    *(".pytype/", ".pyre/", ".ipynb_checkpoints/", "node_modules/", ".nyc_output/", ".parcel-cache/"),
    *(".turbo/", ".next/", ".svelte-kit/", ".eslintcache", "*.tsbuildinfo", ".gradle/", ".kotlin/"),
    *(
        ".dart_tool/",
        ".stack-work/",
        "dist-newstyle/",
        ".zig-cache/",
        "zig-cache/",
        "zig-out/",
        ".terraform/",
    ),
    *(".DS_Store", "Thumbs.db", "*.swp", "*.swo", "*~", ".nfs*", ".glm-agent-*.tmp"),
)
# Folders whose names mean a build only beside the file that builds.
_BUILT = {
    b"Cargo.toml": (b"target",),
    b"pom.xml": (b"target",),
    b"build.sbt": (b"target",),
    b"build.gradle": (b"build",),
    b"build.gradle.kts": (b"build",),
    b"pyproject.toml": (b"build",),
    b"setup.py": (b"build",),
    b"CMakeLists.txt": (b"build",),
    b"mix.exs": (b"_build",),
    b"Package.swift": (b".build",),
}
_FOLDERS = sorted({folder for folders in _BUILT.values() for folder in folders})

# For `git ls-files`: the files that build, and what is tracked of what they may have built.
PATHSPECS = (
    *(f":(top,glob)**/{name.decode()}" for name in _BUILT),
    *(f":(top,glob)**/{folder.decode()}/**" for folder in _FOLDERS),
)


def built(tracked: Sequence[bytes]) -> Iterator[bytes]:
    """The build folders beside `tracked`, what `PATHSPECS` lists, but for those that hold tracked files."""
    sources = {b"/".join(parts[: place + 1]) for parts in _split(tracked) for place in range(len(parts) - 1)}
    for parts in _split(tracked):
        for folder in _BUILT.get(parts[-1], ()):
            if (path := b"/".join([*parts[:-1], folder])) not in sources:
                yield path


def _split(paths: Sequence[bytes]) -> Iterator[list[bytes]]:
    return (path.split(b"/") for path in paths)
