"""The tamper drill: everything that whoever administers database and disk can do, done, and fsck asked each time.

`rows` edits tables, `files` the published log, `histories` whole histories; each yields trials. `trial` runs one and
takes it back, `table` says which mechanism caught what. All of it works on the installation that Django is set up
for, and leaves traces if it is killed: only ever on a copy (`copy`), or in tests.
"""
