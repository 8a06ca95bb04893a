"""A controller whose node keeps the news of revoked certificates to itself; run as `python -m tests.uml.withholding`.

It takes none, asks for none and passes none on: what somebody who is revoked could run.
"""

from __future__ import annotations

import sys
from typing import Any

from ipop_core.controller.main import main
from ipop_modules.tincan.link.protocol.certification import Certification


def nothing(*_: Any) -> None: ...


if __name__ == "__main__":
    Certification.received = nothing  # type: ignore[method-assign]
    Certification._send = nothing  # type: ignore[method-assign]
    sys.exit(main())
