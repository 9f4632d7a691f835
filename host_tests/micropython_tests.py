"""Runs the tests of one unit file. Runs inside the MicroPython VM; conftest.py starts it.

    micropython micropython_tests.py MARK MODULE TEST...

Around what a test prints it writes lines that begin with MARK, a word which the
caller makes up for each run so that no test writes one by accident:

    MARK run TEST       the test begins
    MARK ok TEST        it passed
    MARK failed TEST    it raised; the traceback stands before this line
    MARK end            all tests were run
"""

import gc
import sys


def run(test):
    """Run one test function; a coroutine is run to its end."""
    result = test()
    if hasattr(result, "send"):
        import asyncio

        asyncio.run(result)


def main(mark, module_name, *names):
    """Run the named tests of a module in their order."""
    module = __import__(module_name)
    for name in names:
        gc.collect()
        print(mark, "run", name)
        try:
            run(getattr(module, name))
        except BaseException as error:
            sys.print_exception(error)
            print(mark, "failed", name)
        else:
            print(mark, "ok", name)
    print(mark, "end")


main(*sys.argv[1:])
