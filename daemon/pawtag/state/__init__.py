"""Work in progress, in one SQLite file below state.dir. The records next to the photos are the state of record."""
