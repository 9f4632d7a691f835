"""`python -m demo`: an electric car pays a charging station, with everything real.

cli        the command
world      a chain, the service and two devices, each a process of its own
device     one MicroPython process and its console
wires      a serial line and a TCP connection that can be cut
chain      what the chain says, and what it must say
scenes     one file a scene; `scenes.SCENES` lists them
screen     what is shown while a scene runs
report     the table at the end and build/demo.json
"""
