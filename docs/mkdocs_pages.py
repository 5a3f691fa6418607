"""Pages of the site that lie elsewhere in the repository: the README as its start, notebooks, and what is said at its root."""

import json
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).parents[1] if "__file__" in globals() else Path.cwd()

for name, page in (
    ("README.md", "index.md"),
    *((n, n) for n in ("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")),
):
    with mkdocs_gen_files.open(page, "w") as file:
        file.write((ROOT / name).read_text(encoding="utf-8"))
for notebook in sorted(ROOT.glob("notebooks/*.ipynb")):
    with mkdocs_gen_files.open(f"tutorials/{notebook.name}", "w") as file:
        file.write(json.dumps(json.loads(notebook.read_text(encoding="utf-8"))))
