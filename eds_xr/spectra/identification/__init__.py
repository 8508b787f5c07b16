"""Which elements a spectrum holds, with evidence."""
