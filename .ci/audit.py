"""Says what pip-audit found, read from its JSON. What follows is a choice: a mend may be newer than the pin."""

import json
import sys

said = sys.stdin.read().strip()
try:
    audited = [each for each in json.loads(said)["dependencies"] if "skip_reason" not in each]
except (ValueError, KeyError):  # nothing, or half of it
    audited = []
if not audited:
    print("pip-audit: skipped, it reached no index that tells advisories")  # noqa: T201
found = [(each, hole) for each in audited for hole in each["vulns"]]
for package, hole in found:
    mended = ", ".join(hole["fix_versions"]) or "no release: nothing to be done yet"
    print(f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}")  # noqa: T201
