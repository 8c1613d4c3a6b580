"""A server with the module and safe settings, for `taskslot serve`: its data folder, its password, its configuration.

The settings are those of redis.conf, which comes with the module (`module.settings`). What is added here depends on the
machine and on the options: where it listens, where its data is, how much memory it takes, its password.
"""
