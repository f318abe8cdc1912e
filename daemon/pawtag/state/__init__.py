"""Work in progress, in one SQLite file in state.dir. The source of truth is the records next to the photos."""
