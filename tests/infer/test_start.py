"""What a prediction imports before it begins."""

import subprocess
import sys

HEAVY = (
    "scipy.ndimage",
    "scipy.sparse",
    "numba",
    "matplotlib",
    "jinja2",
    "rasterio",
    "openvino",
    "onnxruntime",
)


def test_a_prediction_begins_without_what_it_may_not_need():
    code = f"import sys, pixelwise.cli.app, pixelwise.infer; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
