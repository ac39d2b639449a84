"""What other programs report about code: checks that passed or failed, and what a linter found where."""
