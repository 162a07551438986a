"""The README's example is a file that runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_readme_shows_the_example_that_runs(shapes, tmp_path):
    code = (ROOT / "examples" / "quickstart.py").read_text()
    shown = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    body = code.split('"""\n\n', 1)[1]
    assert shown.group(1).strip() == body.strip()
    assert len([line for line in body.splitlines() if line and not line.startswith("import")]) <= 10
    shutil.copytree(shapes, tmp_path / "town")
    quick = body.replace("minutes=2", "epochs=1")
    assert quick != body
    result = subprocess.run(
        [sys.executable, "-c", quick], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stderr
    assert "mean IoU" in result.stdout
    assert "(64, 64) uint8" in result.stdout
    assert (tmp_path / "report" / "report.html").exists()


def test_recipes_can_be_read():
    from pixelwise.config import fill, read_yaml
    from pixelwise.training.options import TrainOptions

    recipes = sorted((ROOT / "recipes").glob("*/train.yaml"))
    assert recipes
    for path in recipes:
        assert fill(TrainOptions(), read_yaml(path)["options"]).minutes
