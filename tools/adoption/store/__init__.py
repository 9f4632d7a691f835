"""What the service must not forget: SQLite behind SQLAlchemy.

engine    opens the file; one writer at a time; a commit is on the disk when it returns
tables    the tables
migrations
          from an older version's tables to these
devices, channels, settled, funding, outbox, blocks
          what can be asked and changed; each function takes the connection of a transaction,
          so that callers put together what must happen at once
"""

from adoption.store.engine import Store, StoreError

__all__ = ["Store", "StoreError"]
