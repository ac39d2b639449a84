import sys

__version__ = "0.1.0"

# `python -m` puts the directory it is run in before all others: a repository, which may hold a `json.py`.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and {__name__, f"{__name__}.replay"} & {*sys.orig_argv}:
    del sys.path[0]
