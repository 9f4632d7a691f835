# Frozen into the firmware of this board.
include("../common/manifest.py", port="rp2", arch="armv7emsp")
