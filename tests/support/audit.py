"""Known vulnerabilities of what is installed, by pip-audit: `python -m tests.support.audit`.

Where the advisories cannot be reached, that is said and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys

COMMAND = (
    "-m",
    "pip_audit",
    "--progress-spinner",
    "off",
    "--timeout",
    "10",
    "--skip-editable",
    "--format",
    "json",
)


def main() -> int:
    done = subprocess.run([sys.executable, *COMMAND], capture_output=True, text=True, timeout=300)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"pip-audit was skipped, it gave no answer: {done.stderr.strip()[-300:]}")
        return 0
    audited = [each for each in found if "vulns" in each]
    bad = [each for each in audited if each["vulns"]]
    for each in bad:
        for vulnerability in each["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"{each['name']} {each['version']}: {vulnerability['id']} (fixed in {fixed})")
    if not audited:
        print("pip-audit was skipped: its advisories cannot be reached from here")
    else:
        print(
            f"pip-audit looked at {len(audited)} of {len(found)} packages: {len(bad)} with known vulnerabilities"
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
