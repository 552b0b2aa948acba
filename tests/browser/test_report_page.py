"""The report's page in headless Chromium: everything shows, nothing overflows, nothing is fetched."""

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation.report import write_report

pytestmark = pytest.mark.browser
