# What is frozen into a firmware: the library and the applications.
# A board's manifest includes this file: include("../../firmware/manifest.py")

require("asyncio")
package("perun", base_path="../lib", opt=3)
for name in ("main", "start", "trial", "config", "identity", "vault", "lock", "safe", "status"):
    module(name + ".py", opt=3)
for name in (
    "commands",
    "console",
    "links",
    "dialling",
    "repl_port",
    "go_perun",
    "charger",
    "pins",
    "wifi",
    "hardware",
    "versions",
    "receiver",
):
    module(name + ".py", opt=3)
for name in ("tariff", "ev_station", "ev_car"):
    module(name + ".py", opt=3)
