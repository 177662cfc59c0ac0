"""Write the boards and the objectives' rules anew, from the repository's root: ``python -m deployments.dashboards``."""

from __future__ import annotations

from deployments.dashboards.files import files

for path, content in files().items():
    path.write_text(content)
