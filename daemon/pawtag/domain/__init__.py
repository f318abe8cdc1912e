"""Values, decisions and ports. Pure: no file, no network, no clock."""
