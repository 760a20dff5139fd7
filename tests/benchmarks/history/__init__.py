"""What many Django products use where we use a log: one table, and beside it a table of its history."""
