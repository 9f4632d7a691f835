"""The IoT adoption service: funds, watches and settles the channels of devices without a chain.

Start it with `python -m adoption serve --config FILE`. From Python: `adoption.service.Service`
runs one, `adoption.status.read` looks at its store.
"""

__version__ = "0.1.0"
