# What every board freezes: uPerun. The board's manifest names the port:
#     include("../common/manifest.py", port="rp2")
include("$(PORT_DIR)/boards/manifest.py")
if options.port == "rp2":
    # Ours takes the place of the port's _boot.py, which formats what does not mount.
    files = include.__self__.files()
    files[:] = [file for file in files if file.target_path != "_boot.py"]
    module("_boot.py", base_path="rp2", opt=3)
module("partition.py", base_path=options.port, opt=3)
include("../../firmware/manifest.py")
