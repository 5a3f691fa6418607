"""`python -m bastion_kernel -f FILE` starts a kernel; `python -m bastion_kernel install` adds it to Jupyter."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["install"]:
        from bastion_kernel.install import main as install_main

        sys.exit(install_main(sys.argv[2:]))
    from bastion_kernel.app import main

    main()
