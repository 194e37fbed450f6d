#!/usr/bin/env bash
# Wheels of what a machine with PyTorch, torchvision, transformers, accelerate, timm and rich may lack for gpu.py, with
# all that these need in turn: for CPython 3.12 on x86-64 Linux, into benchmarks/wheels, which git ignores. It travels
# along with the checkout to a machine without a package index; gpu.py says how they are installed there.
set -euo pipefail
cd "$(dirname "$0")"

packages=(
    "open_clip_torch>=3.2,<4" ftfy wcwidth regex
    "webdataset>=1.0.2" braceexpand
    "click>=8.2"
    "jinja2>=3.1" "markupsafe>=2"
    "pydantic>=2" annotated-types typing-inspection typing-extensions
    "pytest>=8" iniconfig packaging pluggy pygments
    "hypothesis>=6.100" sortedcontainers
)
platforms=()
for version in 2_28 2_17 2_12 2_5; do
    platforms+=(--platform "manylinux_${version}_x86_64")
done

rm -rf wheels
# pydantic takes one version of pydantic-core alone, so these two are chosen together.
python=${PYTHON:-python3}
options=(--quiet --no-deps --only-binary=:all: --implementation cp --python-version 3.12 "${platforms[@]}" --dest wheels)
"$python" -m pip download "${options[@]}" "${packages[@]}"
core=$("$python" - <<'END'
import glob, re, zipfile

with zipfile.ZipFile(glob.glob("wheels/pydantic-*.whl")[0]) as wheel:
    metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    print(re.search(r"pydantic[-_]core==[\w.]+", wheel.read(metadata).decode())[0])
END
)
"$python" -m pip download "${options[@]}" "$core"
du -sh wheels
