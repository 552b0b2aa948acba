"""Installs `srsoup-start.pth`, which setuptools has no key for. All else about the package is in pyproject.toml."""

import os
import sys
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

NAME = "srsoup-start.pth"
# Python runs this line at its start. It imports one module if Python was called with `-m pipeline`, and else nothing.
LINE = (
    'import sys; sys.argv[:1] == ["-m"] and sys.orig_argv[-len(sys.argv)] in ("pipeline", "-mpipeline")'
    ' and __import__("_srsoup_start")\n'
)


class BuildWithStart(build_py):  # type: ignore[misc]
    """Put the file beside the modules."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            # `editable_wheel` has prepared this command, and runs it for scripts and headers, but not for data.
            self.run_command("install_data")
        else:
            Path(self.build_lib, NAME).write_text(LINE)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        ours = [] if self.editable_mode else [os.path.join(self.build_lib, NAME)]
        return [*super().get_outputs(include_bytecode), *ours]


def data_files() -> list[tuple[str, list[str]]]:
    """The file as data of an editable installation, which takes no modules from `build_py`. It is built for the Python
    that it is installed into, so the place of the modules under the prefix is known."""
    if "editable_wheel" not in sys.argv:
        return []
    file = Path("build", NAME)
    file.parent.mkdir(exist_ok=True)
    file.write_text(LINE)
    modules = os.path.relpath(sysconfig.get_path("purelib"), sysconfig.get_path("data"))
    return [(modules, [str(file)])]


setup(cmdclass={"build_py": BuildWithStart}, data_files=data_files())
