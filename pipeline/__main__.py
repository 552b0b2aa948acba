"""`python -m pipeline run | sweep | check | status | compact | verify`: the doors of `srsoup` that a cluster needs."""

from pipeline.cli.commands import app

if __name__ == "__main__":
    app(prog_name="python -m pipeline")
