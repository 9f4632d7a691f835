# Frozen into the firmware of this board.
include("../common/manifest.py", port="esp32", arch="xtensawin")
