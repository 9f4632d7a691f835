# What every board freezes: uPerun. The board's manifest names the port and the architecture:
#     include("../common/manifest.py", port="rp2", arch="armv6m")
include("$(PORT_DIR)/boards/manifest.py")
files = include.__self__.files()
if options.port == "rp2":
    # Ours takes the place of the port's _boot.py, which formats what does not mount.
    files[:] = [file for file in files if file.target_path != "_boot.py"]
    module("_boot.py", base_path="rp2", opt=3)
module("partition.py", base_path=options.port, opt=3)
include("../../firmware/manifest.py", arch=options.arch)
# A port runs the main.py that is frozen into it, and then none of the file system. So ours is one
# that looks for that; the device itself is the module `device`.
files[:] = [
    file._replace(target_path="device.py") if file.target_path == "main.py" else file
    for file in files
]
module("main.py", opt=3)
