"""Training on a bare machine: ``python -m fuserec.training RECIPE --prepared FILE --out RUN``.

Needs torch, numpy and safetensors alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from fuserec.errors import FuserecError
from fuserec.training.config import load_recipe
from fuserec.training.interruption import sigterm_as_ctrl_c
from fuserec.training.prepared import load_prepared
from fuserec.training.progress import Lines
from fuserec.training.run import evaluate_run, train


def main(arguments: list[str] | None = None) -> int:
    """Train, measure, print the metrics as JSON; the exit status is 1 after an error, told in one line."""
    parser = argparse.ArgumentParser(prog="python -m fuserec.training", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a recipe in TOML")
    parser.add_argument("--prepared", type=Path, required=True, help="the .npz of a prepared dataset")
    parser.add_argument("--out", type=Path, required=True, help="the run folder to make")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--seed", type=int, help="in place of the recipe's")
    parser.add_argument("--test", action="store_true", help="also read the test part, once")
    parser.add_argument("--overwrite", action="store_true", help="replace the run folder")
    parser.add_argument("--resume", action="store_true", help="go on where training was interrupted")
    options = parser.parse_args(arguments)
    overrides = [*options.set, *([] if options.seed is None else [f"seed={options.seed}"])]
    try:
        with sigterm_as_ctrl_c():
            recipe = load_recipe(options.recipe, overrides)
            prepared = load_prepared(options.prepared)
            run = train(
                recipe,
                prepared,
                options.out,
                overwrite=options.overwrite,
                resume=options.resume,
                progress=Lines(),
                source=options.recipe.read_text(encoding="utf-8"),
            )
            if options.test:
                evaluate_run(run, prepared, part="test")
    except (FuserecError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt as error:
        saved = f"{error}; add --resume to go on from there" if error.args else ""
        print(f"interrupted: {saved or 'nothing half-written is left behind'}", file=sys.stderr)  # noqa: T201
        return 130
    print(json.dumps(run.metrics))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
