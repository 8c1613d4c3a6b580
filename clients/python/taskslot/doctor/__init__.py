"""What is wrong with a server: `taskslot doctor`.

`gather` asks the servers, with the rights of the user who asks. The checks are pure: they make findings of the facts.
`examine` runs all of them.
"""
