"""Build the package: `python -m provisioning.package [--out FOLDER]`."""

import sys

from provisioning.package.build import main

sys.exit(main(sys.argv[1:]))
