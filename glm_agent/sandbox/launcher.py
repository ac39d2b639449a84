"""The program that confines a command: `python -I -S launcher.py`, with an empty environment.

Its neighbours are loaded under a name of their own, so that the package itself, which is larger, is not.
"""

import sys

neighbours = type(sys)("confined")
neighbours.__path__ = [__file__.rpartition("/")[0]]
sys.modules["confined"] = neighbours
__import__("confined.start").start.main()
