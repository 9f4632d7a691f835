# What is frozen into a firmware: the library and the applications, put together for the processor
# by tools/bundle, which runs here (lib/README.md says what it does). A board's manifest includes
# this file: include("../../firmware/manifest.py", arch="armv6m")
import os
import subprocess
import sys

require("asyncio")
if subprocess.call([sys.executable, "-m", "bundle", options.arch], cwd="../tools"):
    raise SystemExit("tools/bundle failed: it needs Python 3.10 or newer")
built = "../build/device/" + options.arch
for name in sorted(os.listdir(built)):
    if name.endswith(".py"):
        module(name, base_path=built, opt=3)
    elif os.path.isdir(os.path.join(built, name)):
        package(name, base_path=built, opt=3)
