"""`python -m pipeline run | sweep | check | status | compact | verify`: the commands for a cluster."""

import sys

from pipeline.shadowing import message_of, shadows_here


def main() -> None:
    """Run the command line, unless Python would import other people's modules in place of SRSoup's."""
    if shadows := shadows_here():
        print(f"error: {message_of(shadows)}", file=sys.stderr)
        sys.exit(2)
    try:
        # Here, because it imports modules that may be hidden.
        from pipeline.cli.commands import app

        app(prog_name="python -m pipeline")
    except KeyboardInterrupt:
        # Ctrl-C while the command line itself is imported. `pipeline.cli.guard` ends its commands in the same way.
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
