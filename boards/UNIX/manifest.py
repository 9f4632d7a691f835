# Frozen into a unix port of your own (make VARIANT=standard FROZEN_MANIFEST=...).
include("$(PORT_DIR)/variants/standard/manifest.py")
include("../../firmware/manifest.py")
module("cable.py", opt=3)
