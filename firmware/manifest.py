# What is frozen into a firmware: the library and the applications.
# A board's manifest includes this file: include("../../firmware/manifest.py")

require("asyncio")
package("perun", base_path="../lib", opt=3)
for name in ("main", "start", "config", "identity", "vault", "lock", "safe", "status", "commands"):
    module(name + ".py", opt=3)
for name in ("console", "links", "go_perun", "charger", "pins", "wifi", "hardware"):
    module(name + ".py", opt=3)
for name in ("tariff", "ev_station", "ev_car"):
    module(name + ".py", opt=3)
