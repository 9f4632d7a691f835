# Frozen into a unix port of your own:
#     make VARIANT=standard FROZEN_MANIFEST=... MPY_CROSS_FLAGS=-march=x64
include("$(PORT_DIR)/variants/standard/manifest.py")
include("../../firmware/manifest.py", arch="x64")
