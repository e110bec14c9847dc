"""``python -m fuserec`` is the command line."""

from __future__ import annotations

from fuserec.cli import main

if __name__ == "__main__":
    main()
