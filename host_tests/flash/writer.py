"""Writes records into a journal until it is killed; says which ones are confirmed.

    micropython writer.py PATH FIRST SIZE

Both VMs run it. Each record is its number, repeated up to SIZE bytes.
"""

import sys

from perun.store import StoreError
from perun.store.journal import Journal


def main(path, first, size):
    store = Journal(path)
    if store.get(b"k") is None:
        store.put(b"k", b"secret")
    number = int(first)
    try:
        while True:
            text = b"%d " % number
            store.put(b"c", text * (int(size) // len(text)))
            sys.stdout.write("%d\n" % number)
            if hasattr(sys.stdout, "flush"):
                sys.stdout.flush()
            number += 1
    except StoreError as error:
        sys.stdout.write("failed: %s\n" % error)


main(*sys.argv[1:])
